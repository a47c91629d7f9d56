"""Which prompts and systems the page lets a reader listen to. No score of a clip has a say in it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from calm.evaluation.manifest import ManifestItem
from calm.report.panel import SCOPES
from calm.report.rank import strength
from calm.report.records import Board, System
from calm.types import Task

__all__ = ["choose", "strongest"]


def choose(board: Board, *, count: int) -> list[ManifestItem]:
    """Return at most ``count`` items that exist as audio for several systems, dealt out over tasks and labels.

    Items with clips of more systems come first, then those whose labels were not shown yet; what is left is settled
    by a hash of the item's name, which knows nothing of the result.
    """
    queues = [queue for task in Task if (queue := _order(board, task))]
    dealt = [
        item for turn in range(max(map(len, queues), default=0)) for queue in queues for item in queue[turn : turn + 1]
    ]
    chosen = dealt[:count]
    return sorted(chosen, key=lambda entry: (entry.item.task.id, chosen.index(entry)))


def strongest(board: Board, task: Task, systems: Sequence[System]) -> list[System]:
    """The best system of each scope (modality-specific, unified, others) by the first column of the task."""
    measures = board.measures(task)
    found = []
    for scope in sorted({system.scope for system in systems}, key=lambda scope: (scope not in SCOPES, scope)):
        group = [system for system in systems if system.scope == scope]
        scored = [system for system in group if measures and measures[0].id in system.figures.get(task, {})]
        if scored:
            # max keeps the first of equals, in the order of the files.
            found.append(max(scored, key=lambda system: strength(measures[0], system.figures[task][measures[0].id])))
        else:
            found.append(group[0])
    return found


def _order(board: Board, task: Task) -> list[ManifestItem]:
    """All items of a task that can be listened to, in the order in which they are shown."""
    entries = [entry for entry in board.manifest.values() if entry.item.task == task]
    heard = {entry.item.id: _heard(board, entry.item.id) for entry in entries}
    enough = min(2, max(heard.values(), default=0))
    left = sorted((entry for entry in entries if heard[entry.item.id] >= max(1, enough)), key=_hash)
    used: Counter[str] = Counter()
    order = []
    while left:
        entry = min(
            left, key=lambda each: (-heard[each.item.id], max((used[name] for name in each.item.labels), default=0))
        )
        left.remove(entry)
        used.update(entry.item.labels)
        order.append(entry)
    return order


def _heard(board: Board, item: str) -> int:
    return sum(system.clips[item].audio is not None for system in board.systems if item in system.clips)


def _hash(entry: ManifestItem) -> str:
    return hashlib.sha256(entry.item.id.encode()).hexdigest()
