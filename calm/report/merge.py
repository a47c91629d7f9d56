"""Several result files of one benchmark become one board, where they asked for the same items."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from calm.report.records import Board, Cell, Clip, Measure, Skipped, System
from calm.types import Task

__all__ = ["merge"]

#: metrics of published figures that name none
UNNAMED = {"", "published"}


def merge(boards: Sequence[Board]) -> list[Board]:
    """Return one board for each benchmark and list of items, in the order of the files.

    Boards of one name but other lists stay apart, with a note on each. Published figures name no list: they join the
    first board of their benchmark.
    """
    groups: dict[tuple[str, str | None], list[int]] = {}
    for index, board in enumerate(boards):
        if board.sha256 is not None:
            groups.setdefault((board.name, board.sha256), []).append(index)
    for index, board in enumerate(boards):
        if board.sha256 is None:
            key = next((key for key in groups if key[0] == board.name), (board.name, None))
            groups.setdefault(key, []).append(index)
    merged = []
    for (name, sha256), indices in sorted(groups.items(), key=lambda group: min(group[1])):
        board = _one_of([boards[index] for index in sorted(indices)])
        others = [other for label, other in groups if label == name and other != sha256]
        if others:
            listed = ", ".join(str(other)[:12] for other in others)
            told = f"Other result files of {name} were made with another list of items"
            note = f"{told} (manifest {listed}; this one is {str(sha256)[:12]}): not comparable, so shown apart."
            title = f"{board.title}, list {str(sha256)[:6]}"
            board = dataclasses.replace(board, title=title, notes=(note, *board.notes))
        merged.append(board)
    return merged


def _one_of(boards: Sequence[Board]) -> Board:
    # What describes the benchmark is read from the first file that names a list.
    base = next((board for board in boards if board.sha256 is not None), boards[0])
    columns: dict[str, Measure] = {}
    systems: dict[tuple[str, bool], System] = {}
    notes: list[str] = []
    for board in boards:
        renamed = _join_columns(columns, board)
        for system in board.systems:
            new = _renamed(system, renamed)
            key = (new.name, new.published)
            systems[key] = _join_systems(systems[key], new, notes) if key in systems else new
    return dataclasses.replace(
        base,
        columns=columns,
        systems=tuple(systems.values()),
        manifest=next((board.manifest for board in boards if board.manifest), {}),
        rejected=_unique(line for board in boards for line in board.rejected),
        notes=_unique([*(note for board in boards for note in board.notes), *notes]),
        machines=_unique(line for board in boards for line in board.machines if line),
    )


def _join_columns(columns: dict[str, Measure], board: Board) -> dict[str, str]:
    """Add the board's columns to ``columns``; return under which id each is found there.

    Figures share a column where they have one key, one metric and one description. Published figures share the column
    of their metric, and any column of their key where they name no metric.
    """
    renamed = {}
    for measure in board.columns.values():
        same = next((other for other in columns.values() if _comparable(other, measure)), None)
        if same is None:
            columns[measure.id] = measure
        elif same.published and not measure.published:
            columns[same.id] = dataclasses.replace(measure, id=same.id)
        renamed[measure.id] = measure.id if same is None else same.id
    return renamed


def _comparable(one: Measure, other: Measure) -> bool:
    if (one.key, one.better) != (other.key, other.better):
        return False
    if one.published or other.published:
        return one.metric == other.metric or bool(UNNAMED & {one.metric, other.metric})
    return one.id == other.id


def _renamed(system: System, ids: Mapping[str, str]) -> System:
    def rows(cells: Mapping[str, Cell]) -> dict[str, Cell]:
        return {ids[key]: cell for key, cell in cells.items()}

    clips = {
        key: dataclasses.replace(clip, scores={ids[name]: value for name, value in clip.scores.items()})
        for key, clip in system.clips.items()
    }
    return dataclasses.replace(system, figures={task: rows(row) for task, row in system.figures.items()}, clips=clips)


def _join_systems(first: System, later: System, notes: list[str]) -> System:
    """A system of two files. Evaluated again, the later file stands; judged by other metrics, the figures are joined."""
    both = [
        (cell, later.figures.get(task, {}).get(key)) for task, row in first.figures.items() for key, cell in row.items()
    ]
    if any(other is not None and other != cell for cell, other in both):
        notes.append(f"{later.name} is in more than one result file: the later one is shown.")
        return later
    # The originals are judged again with every system: nothing to tell where nothing differs.
    if all(other is None for _, other in both) and later.figures:
        notes.append(f"The figures of {later.name} come from more than one result file.")
    figures: dict[Task, Mapping[str, Cell]] = dict(first.figures)
    for task, row in later.figures.items():
        figures[task] = {**figures.get(task, {}), **row}
    clips = dict(first.clips)
    for key, clip in later.clips.items():
        clips[key] = _join_clips(clips[key], clip) if key in clips else clip
    return dataclasses.replace(
        later,
        scope=later.scope or first.scope,
        source=later.source or first.source,
        figures=figures,
        clips=clips,
        skipped=_join_skipped(first.skipped, later.skipped),
    )


def _join_clips(first: Clip, later: Clip) -> Clip:
    return Clip(audio=later.audio or first.audio, scores={**first.scores, **later.scores})


def _join_skipped(first: Skipped, later: Skipped) -> Skipped:
    return Skipped(
        missing=_unique([*first.missing, *later.missing]),
        extra=_unique([*first.extra, *later.extra]),
        unusable={**first.unusable, **later.unusable},
        unscored={**first.unscored, **later.unscored},
    )


def _unique(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(lines))
