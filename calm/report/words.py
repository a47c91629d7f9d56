"""What stands under a table, in words: how many clips, which were skipped and why, where published figures come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from calm.pages.html import Content, Element, h
from calm.report.panel import Panel, Part
from calm.report.records import Board, System

__all__ = ["counted", "notes", "remarks"]

MAX_LISTED = 3
#: what the figures of a metric count, where it is not clips
UNITS = {"listening": "rating"}


def notes(boards: Sequence[Board]) -> Element | None:
    """What a reader must know before the tables of ``boards``: what was joined, left out or set apart."""
    lines = list(dict.fromkeys(note for board in boards for note in board.notes))
    for board in boards:
        if board.rejected:
            told = f"{counted(len(board.rejected), 'line')} of the manifest could not be used"
            lines.append(f"{told} ({_listed(board.rejected, between='; ')}).")
    return h("div", [h("p", line) for line in lines], class_="note", role="note") if lines else None


def remarks(panel: Panel) -> Element:
    """How to read the table, counts, skipped clips, and the sources of published figures."""
    lines = [h("li", _legend(panel))]
    for part in panel.parts:
        named = f"{part.board.title}: " if len(panel.parts) > 1 else ""
        lines += [h("li", named, line) for line in _told(part)]
    sources = {row.name: row.any.source for row in panel.rows if row.any.published}
    if sources:
        lines.append(h("li", "† Published figures, not measured here", _sources(sources), "."))
    return h("ul", lines, class_="remarks")


def _sources(sources: Mapping[str, str]) -> list[Content]:
    """Where the figures of each system come from; what all have in common is said once."""
    firsts = {source.partition("; ")[0] for source in sources.values()}
    shared = firsts.pop() if len(firsts) == 1 and len(sources) > 1 else ""
    told: list[Content] = [f", from {shared}: " if shared else ": "]
    for index, (name, source) in enumerate(sources.items()):
        own = source.removeprefix(shared).removeprefix("; ") if shared else source or "no source is given"
        told += ["; " if index else "", h("bdi", name), f" ({own})" if own else ""]
    return told


def counted(count: int, one: str, many: str | None = None) -> str:
    """``1 clip``, ``1,200 clips``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _legend(panel: Panel) -> str:
    parts = ["Bold is best, underlined is second; figures that look alike share a place"]
    systems = [system for row in panel.rows for system in row.systems if system is not None]
    cells = [cell for system in systems for cell in system.figures.get(panel.task, {}).values()]
    if any(cell.low is not None for cell in cells):
        parts.append("small figures are 95 % intervals")
    if any(not system.ranked for system in systems):
        parts.append("recordings and their reconstructions are not ranked")
    return "; ".join(parts) + "."


def _told(part: Part) -> Iterator[Content]:
    total = part.board.items.get(part.task)
    if total is not None:
        yield f"{counted(total, 'item')} of {part.task}."
    for system in part.board.systems:
        told = list(_reasons(part, system)) if system.figures.get(part.task) else []
        if told:
            yield [h("bdi", system.name), ": ", "; ".join(told), "."]


def _reasons(part: Part, system: System) -> Iterator[str]:
    skipped = system.skipped
    rows = system.figures[part.task]
    for unit in ("clip", "rating"):
        columns = [each for each in part.measures if UNITS.get(each.metric, "clip") == unit and each.id in rows]
        counts = sorted({rows[each.id].count for each in columns} - {None})
        if counts and (unit != "clip" or counts != [part.board.items.get(part.task)]):
            names = "figures rest" if unit == "clip" else f"{' and '.join(each.label for each in columns)} rest"
            shown = (
                counted(counts[-1], unit) if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,} {unit}s, by column"
            )
            yield f"{names} on {shown}"
    missing = [name for name in skipped.missing if _belongs(part, name)]
    if missing:
        yield f"{counted(len(missing), 'clip')} missing ({_listed(missing)})"
    unusable = _with_reasons(part, skipped.unusable)
    if unusable:
        yield f"{counted(len(unusable), 'clip')} could not be used ({_listed(unusable, between='; ')})"
    for metric, reasons in skipped.unscored.items():
        unscored = _with_reasons(part, reasons)
        if unscored:
            measures = [measure.label for measure in part.measures if measure.metric == metric]
            name = " and ".join(dict.fromkeys(measures)) or metric
            yield f"{counted(len(unscored), 'clip')} without {name} ({_listed(unscored, between='; ')})"
    if skipped.extra and part.task == part.board.tasks()[0]:
        yield f"{counted(len(skipped.extra), 'file')} that no item asks for ({_listed(skipped.extra)})"


def _belongs(part: Part, name: str) -> bool:
    """Whether an item is of this task; an item that nobody knows is told of under every table."""
    entry = part.board.manifest.get(name)
    return entry is None or entry.item.task == part.task


def _with_reasons(part: Part, reasons: Mapping[str, str]) -> list[str]:
    found = {name: " ".join(str(reason).split())[:160] for name, reason in reasons.items() if _belongs(part, name)}
    return [f"{name}: {reason}" for name, reason in found.items()]


def _listed(names: Sequence[str], *, between: str = ", ") -> str:
    more = len(names) - MAX_LISTED
    return between.join(name[:240] for name in names[:MAX_LISTED]) + (f"{between}and {more:,} more" if more > 0 else "")
