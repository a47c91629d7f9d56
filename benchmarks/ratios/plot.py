"""Every ratio over commits, a panel each, with its goal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.ratios.history import latest, series

__all__ = ["plot"]

COLUMNS, INK, GOAL, BAR = 5, "#1f4e79", "#2e8b57", "#c0504d"


def plot(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw medians with their ranges; the dashed line is the goal, the dotted one the bar."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    readings = [reading for reading in latest(runs) if reading.goal is not None]
    rows = math.ceil(len(readings) / COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(3 * COLUMNS, 2.3 * rows), squeeze=False)
    for axis, reading in zip(axes.flat, readings, strict=False):
        found = series(runs, reading.key)
        medians = [one.ratio for _, one in found]
        below = [one.ratio - one.low for _, one in found]
        above = [one.high - one.ratio for _, one in found]
        axis.errorbar(range(len(found)), medians, yerr=[below, above], fmt="o-", color=INK, capsize=3)
        axis.axhline(reading.goal.value, color=GOAL, linestyle="--")
        if reading.goal.bar is not None:
            axis.axhline(reading.goal.bar, color=BAR, linestyle=":")
        axis.set_title(f"{reading.key} ({reading.goal.sense} {reading.goal.value:.3g})", fontsize=9)
        axis.set_xticks(range(len(found)), [commit for commit, _ in found], rotation=30, fontsize=7)
        axis.set_xlim(-0.5, len(found) - 0.5)
        axis.tick_params(axis="y", labelsize=7)
    for axis in axes.flat[len(readings) :]:
        axis.set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
