"""Grids and solvers of the flow's ordinary differential equation, from noise (t = 0) to data (t = 1)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from torch import Tensor

__all__ = ["GRIDS", "ORDERS", "SOLVERS", "solve", "time_grid"]

#: velocity(x, t) with a float t
Velocity = Callable[[Tensor, float], Tensor]

SWAY = -1.0


def _sway(t: float) -> float:
    """Sway sampling (F5-TTS, eq. 6, s = -1): more steps near the noise, where the outline is decided."""
    return t + SWAY * (math.cos(math.pi / 2 * t) - 1 + t)


GRIDS: dict[str, Callable[[float], float]] = {"uniform": lambda t: t, "sway": _sway}


def time_grid(num_steps: int, *, grid: str) -> list[float]:
    """The num_steps + 1 times of a grid, from exactly 0 to exactly 1."""
    return [0.0, *(GRIDS[grid](step / num_steps) for step in range(1, num_steps)), 1.0]


def _euler(velocity: Velocity, x: Tensor, t: float, dt: float) -> Tensor:
    return x + dt * velocity(x, t)


def _midpoint(velocity: Velocity, x: Tensor, t: float, dt: float) -> Tensor:
    return x + dt * velocity(x + dt / 2 * velocity(x, t), t + dt / 2)


SOLVERS = {"euler": _euler, "midpoint": _midpoint}
#: velocities that a step of a solver asks for
ORDERS = {"euler": 1, "midpoint": 2}


def solve(velocity: Velocity, noise: Tensor, *, num_steps: int, solver: str, grid: str) -> Tensor:
    """Integrate dx/dt = velocity(x, t) from ``noise`` at t = 0 to t = 1. The state keeps its own type."""
    step, x = SOLVERS[solver], noise
    for t, following in itertools.pairwise(time_grid(num_steps, grid=grid)):
        x = step(velocity, x, t, following - t)
    return x
