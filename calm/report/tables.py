"""Tables: the best figure in bold, the second underlined, originals first and never ranked."""

from __future__ import annotations

from calm.pages.html import Element, h
from calm.pages.sections import scrolled
from calm.report.panel import Panel, Part, Row, labels
from calm.report.rank import marks
from calm.report.records import Cell, Measure

__all__ = ["table"]

ARROWS = {"lower": ("↓", "lower is better"), "higher": ("↑", "higher is better")}


def table(panel: Panel) -> Element:
    """Return the table of a panel, in a frame that scrolls by itself. Numbers line up; sorting is the script's work."""
    kinds = _marks(panel)
    rows = [_row(panel, row, kinds, place) for place, row in enumerate(panel.rows)]
    split = sum(not row.any.ranked for row in panel.rows)
    title = f"{panel.title}, {panel.task}"
    body = h(
        "table",
        h("caption", title, class_="unseen"),
        h("thead", _groups(panel), _head(panel)),
        h("tbody", rows[:split], class_="originals") if split else None,
        h("tbody", rows[split:], class_="systems"),
        class_="results",
    )
    return scrolled(body, label=f"figures of {title}")


def _marks(panel: Panel) -> dict[tuple[int, str, int], str]:
    """``best`` and ``second`` by part, column and place of the row."""
    found = {}
    for index, part in enumerate(panel.parts):
        for measure in part.measures:
            cells = {
                place: row.cell(part, index, measure) for place, row in enumerate(panel.rows) if row.any.ranked
            }
            ranks = marks(measure, {place: cell for place, cell in cells.items() if cell is not None})
            found |= {(index, measure.id, place): mark for place, mark in ranks.items()}
    return found


def _groups(panel: Panel) -> Element | None:
    if len(panel.parts) < 2:
        return None
    spans = [
        h("th", h("span", part.board.title), scope="colgroup", colspan=len(part.measures), class_="group")
        for part in panel.parts
    ]
    return h("tr", h("td", class_="corner"), spans, class_="groups")


def _head(panel: Panel) -> Element:
    cells = [
        _column(part, measure, first=measure is part.measures[0]) for part in panel.parts for measure in part.measures
    ]
    system = h("th", h("button", "System", type="button"), scope="col", data_better="lower")
    return h("tr", system, cells, class_="sortable")


def _column(part: Part, measure: Measure, *, first: bool) -> Element:
    arrow, words = ARROWS[measure.better]
    name = labels(part.measures)[measure.id]
    unit = [" ", h("span", measure.unit, class_="unit")] if measure.unit else None
    told = h("span", arrow, class_="arrow", aria_hidden="true"), h("span", f", {words}", class_="unseen")
    button = h("button", h("span", name, class_="label"), unit, told, type="button")
    return h("th", button, scope="col", data_better=measure.better, class_="number edge" if first else "number")


def _row(panel: Panel, row: Row, kinds: dict[tuple[int, str, int], str], place: int) -> Element:
    cells = [
        _cell(
            measure,
            row.cell(part, index, measure),
            kinds.get((index, measure.id, place)),
            first=measure is part.measures[0],
        )
        for index, part in enumerate(panel.parts)
        for measure in part.measures
    ]
    return h("tr", _name(row), cells, class_="ours" if row.ours else None, data_place=place)


def _name(row: Row) -> Element:
    system = row.any
    kinds = [system.scope if system.ranked else "not ranked", "ours" if row.ours else ""]
    told = " · ".join(kind for kind in kinds if kind)
    dagger = h("sup", "†", title="published figures, not measured here") if system.published else None
    return h(
        "th",
        h("bdi", row.name),
        dagger,
        h("small", told) if told else None,
        scope="row",
        data_value=row.name.casefold(),
    )


def _cell(measure: Measure, cell: Cell | None, mark: str | None, *, first: bool) -> Element:
    edge = " edge" if first else ""
    if cell is None:
        return h("td", h("span", "–", title="not measured"), class_=f"number none{edge}")
    shown = measure.shown(cell.value)
    value = h("strong", shown) if mark == "best" else h("u", shown) if mark == "second" else h("span", shown)
    return h("td", value, _interval(measure, cell), class_=f"number{edge}", data_value=repr(cell.value))


def _interval(measure: Measure, cell: Cell) -> Element | None:
    if cell.low is None or cell.high is None:
        return None
    between = "–" if cell.low >= 0 else " to "
    return h("small", f"{measure.shown(cell.low)}{between}{measure.shown(cell.high)}", title="95 % interval")
