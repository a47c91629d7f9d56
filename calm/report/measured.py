"""How it was measured: what each figure depends on, folded away under its table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from calm.pages.html import Content, Element, h
from calm.report.panel import Panel, labels
from calm.report.records import Board, Measure

__all__ = ["measured"]

MAX_DEPTH = 2


def measured(panel: Panel) -> Element:
    """A fold with the description of every metric, the benchmark's protocol, and the machines."""
    parts = [_board(part.board, part.measures, named=len(panel.parts) > 1) for part in panel.parts]
    return h("details", h("summary", "How it was measured"), h("div", parts, class_="inside"), class_="fold")


def _board(board: Board, measures: tuple[Measure, ...], *, named: bool) -> Content:
    names = labels(measures)
    groups: dict[str, list[Measure]] = {}
    for measure in measures:
        # Columns of one metric have one description.
        groups.setdefault(json.dumps([measure.metric, measure.how], sort_keys=True), []).append(measure)
    rows = [_entry(" · ".join(names[each.id] for each in group), _metric(group[0])) for group in groups.values()]
    protocol = {key: value for key, value in board.protocol.items() if key != "title"}
    if board.sha256 is not None:
        protocol["manifest"] = f"{board.name}, sha256 {board.sha256}"
    if protocol:
        rows.append(_entry("The list of items", _value(protocol)))
    if board.machines:
        rows.append(_entry("Machine", [h("p", line) for line in board.machines]))
    return [h("h5", board.title) if named else None, h("dl", rows, class_="how-list")]


def _metric(measure: Measure) -> Content:
    if measure.published and not measure.how:
        return "as the papers say; not measured here"
    return _value(measure.how) if measure.how else "the result file does not say"


def _entry(name: str, content: Content) -> Element:
    return h("div", h("dt", name), h("dd", content))


def _value(value: Any, *, depth: int = 0) -> Content:
    if isinstance(value, Mapping):
        if depth >= MAX_DEPTH:
            return json.dumps(value, ensure_ascii=False)
        rows = [
            h("div", h("dt", key.replace("_", " ")), h("dd", _value(item, depth=depth + 1)))
            for key, item in value.items()
        ]
        return h("dl", rows, class_="nested")
    if isinstance(value, list):
        return ", ".join(item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in value)
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return value if isinstance(value, str) else json.dumps(value)
