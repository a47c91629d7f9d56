"""Grids of times at which the flow's equation is solved, from noise (t = 0) to data (t = 1)."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["GRIDS", "time_grid"]

SWAY = -1.0
#: up to so many steps `auto` is uniform: with fewer, those far from the noise become too long under sway
FEW_STEPS = 6


def _sway(t: float) -> float:
    """Sway sampling (F5-TTS, eq. 6, s = -1): more steps near the noise, where the outline is decided."""
    return t + SWAY * (math.cos(math.pi / 2 * t) - 1 + t)


_GRIDS: dict[str, Callable[[float], float]] = {"uniform": lambda t: t, "sway": _sway}
GRIDS = ("auto", *_GRIDS)


def time_grid(num_steps: int, *, grid: str) -> list[float]:
    """The num_steps + 1 times of a grid, from exactly 0 to exactly 1. ``auto``: uniform for few steps, sway for more."""
    if grid == "auto":
        grid = "uniform" if num_steps <= FEW_STEPS else "sway"
    return [0.0, *(_GRIDS[grid](step / num_steps) for step in range(1, num_steps)), 1.0]
