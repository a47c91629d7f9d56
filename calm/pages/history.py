"""A run's history.csv -> series of numbers for charts and tables."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from calm.training.history import read_history
from calm.types import TASKS

__all__ = ["History", "Points", "load_history", "smooth"]

#: (step, value), in order of steps
Points = list[tuple[float, float]]

MAX_POINTS = 90


class History:
    """The logged numbers of one run by name."""

    def __init__(self, series: dict[str, Points]) -> None:
        self.series = series

    def __bool__(self) -> bool:
        return bool(self.series)

    def points(self, name: str) -> Points:
        """Return the series called ``name``; empty where nothing of that name was logged."""
        return self.series.get(name, [])

    @property
    def last_step(self) -> int:
        return int(max((points[-1][0] for points in self.series.values()), default=0))

    def by_noise(self) -> dict[str, list[float | None]]:
        """Return the last validation error of each task by noise level, from noise to data."""
        found: dict[str, dict[int, float]] = defaultdict(dict)
        for name, points in self.series.items():
            head, _, level = name.rpartition("/t")
            if head.startswith("val/flow/") and level.isdigit():
                found[head.removeprefix("val/flow/")][int(level)] = points[-1][1]
        num_bins = 1 + max((level for levels in found.values() for level in levels), default=-1)
        ordered = [str(task) for task in TASKS if str(task) in found]
        return {task: [found[task].get(level) for level in range(num_bins)] for task in ordered}


def load_history(path: Path) -> History:
    """Read a history file; one that is not there gives a history without series."""
    series: dict[str, Points] = defaultdict(list)
    for step, _, name, value in read_history(path):
        series[name].append((float(step), value))
    return History({name: sorted(points) for name, points in series.items()})


def smooth(points: Points) -> Points:
    """Average neighbouring points down to at most ``MAX_POINTS``, so that a trend can be seen in the noise."""
    if len(points) <= MAX_POINTS:
        return points
    return [tuple(np.mean(part, axis=0)) for part in np.array_split(np.array(points), MAX_POINTS)]
