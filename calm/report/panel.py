"""What stands in one table: systems as rows, the columns of one benchmark, or of two side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calm.report.records import Board, Cell, Measure, System
from calm.types import Task

__all__ = ["Panel", "Part", "Row", "labels", "panels"]

#: benchmarks whose speech tables stand side by side, as in the paper
SIDE_BY_SIDE = ("libritts", "seed_tts_en")
SCOPES = ("modality-specific", "unified")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One task of one board."""

    board: Board
    task: Task

    @property
    def measures(self) -> tuple[Measure, ...]:
        return self.board.measures(self.task)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A system as each part of a panel knows it; None where a part does not."""

    name: str
    systems: tuple[System | None, ...]
    ours: bool

    @property
    def any(self) -> System:
        return next(system for system in self.systems if system is not None)

    def cell(self, part: Part, index: int, measure: Measure) -> Cell | None:
        system = self.systems[index]
        return None if system is None else system.figures.get(part.task, {}).get(measure.id)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One table. ``rows`` are in the order that a reader first sees: originals, others, ours last."""

    title: str
    task: Task
    parts: tuple[Part, ...]
    rows: tuple[Row, ...]


def panels(boards: Sequence[Board], *, ours: str | None) -> list[Panel]:
    """Return one panel for each task of each board; LibriTTS and Seed-TTS stand side by side where both are there."""
    names = Counter(board.name for board in boards)
    joined = [board for name in SIDE_BY_SIDE if names[name] == 1 for board in boards if board.name == name]
    joined = [board for board in joined if Task.SPEECH in board.tasks()]
    found = []
    for board in boards:
        for task in board.tasks():
            if len(joined) == 2 and board in joined and task == Task.SPEECH:
                parts = [Part(board=each, task=task) for each in joined] if board is _first(boards, joined) else []
            else:
                parts = [Part(board=board, task=task)]
            if parts:
                found.append(_panel(parts, ours=ours))
    return found


def labels(measures: Sequence[Measure]) -> dict[str, str]:
    """Names of columns by id: where two have one name, each also says what is different about it."""
    counts = Counter(measure.label for measure in measures)
    found = {}
    for measure in measures:
        twins = [other for other in measures if other.label == measure.label]
        found[measure.id] = (
            measure.label if counts[measure.label] == 1 else f"{measure.label}, {_apart(measure, twins)}"
        )
    return found


def _first(boards: Sequence[Board], joined: Sequence[Board]) -> Board:
    return next(board for board in boards if board in joined)


def _panel(parts: Sequence[Part], *, ours: str | None) -> Panel:
    keys: dict[tuple[str, bool], list[System | None]] = {}
    for index, part in enumerate(parts):
        for system in part.board.systems:
            if system.figures.get(part.task):
                keys.setdefault((system.name, system.published), [None] * len(parts))[index] = system
    rows = [
        Row(name=name, systems=tuple(systems), ours=name == ours and not published)
        for (name, published), systems in keys.items()
    ]
    titles = [part.board.title for part in parts]
    return Panel(
        title=" and ".join(dict.fromkeys(titles)),
        task=parts[0].task,
        parts=tuple(parts),
        rows=tuple(sorted(rows, key=_place)),
    )


def _place(row: Row) -> int:
    if not row.any.ranked:
        return 0 if row.any.original else 1
    if row.ours:
        return 5
    return 2 + SCOPES.index(row.any.scope) if row.any.scope in SCOPES else 4


def _apart(measure: Measure, twins: Sequence[Measure]) -> str:
    for key in dict.fromkeys(("scorer", "version", *measure.how)):
        values = [_value(other.how, key) for other in twins]
        if len(set(values)) == len(values) and all(0 < len(value) <= 30 for value in values):
            own = _value(measure.how, key)
            return own if key == "scorer" else f"{key} {own}"
    return f"way {1 + twins.index(measure)}"


def _value(how: Mapping[str, object], key: str) -> str:
    value = how.get(key, "")
    return value if isinstance(value, str) else json.dumps(value)
