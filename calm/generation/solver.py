"""Grids and solvers of the flow's ordinary differential equation, from noise (t = 0) to data (t = 1)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Sequence

from torch import Tensor

__all__ = ["GRIDS", "ORDERS", "SOLVERS", "solve", "time_grid", "trajectory"]

#: yields (x, t) with a float t, is sent the velocity there, and returns the end
Trajectory = Generator[tuple[Tensor, float], Tensor, Tensor]
#: the velocities at as many points (x, t)
Velocities = Callable[[Sequence[tuple[Tensor, float]]], Sequence[Tensor]]

SWAY = -1.0


def _sway(t: float) -> float:
    """Sway sampling (F5-TTS, eq. 6, s = -1): more steps near the noise, where the outline is decided."""
    return t + SWAY * (math.cos(math.pi / 2 * t) - 1 + t)


GRIDS: dict[str, Callable[[float], float]] = {"uniform": lambda t: t, "sway": _sway}


def time_grid(num_steps: int, *, grid: str) -> list[float]:
    """The num_steps + 1 times of a grid, from exactly 0 to exactly 1."""
    return [0.0, *(GRIDS[grid](step / num_steps) for step in range(1, num_steps)), 1.0]


def _euler(x: Tensor, t: float, dt: float) -> Trajectory:
    return x + dt * (yield x, t)


def _midpoint(x: Tensor, t: float, dt: float) -> Trajectory:
    half = x + dt / 2 * (yield x, t)
    return x + dt * (yield half, t + dt / 2)


SOLVERS = {"euler": _euler, "midpoint": _midpoint}
#: velocities that a step of a solver asks for
ORDERS = {"euler": 1, "midpoint": 2}


def trajectory(noise: Tensor, *, num_steps: int, solver: str, grid: str) -> Trajectory:
    """Integrate dx/dt = v(x, t) from ``noise`` at t = 0 to t = 1: asks for velocities, returns the end.

    The state keeps its own type.
    """
    step, x = SOLVERS[solver], noise
    for t, following in itertools.pairwise(time_grid(num_steps, grid=grid)):
        x = yield from step(x, t, following - t)
    return x


def solve(velocities: Velocities, trajectories: Sequence[Trajectory]) -> list[Tensor]:
    """Follow trajectories side by side to their ends, with one call of ``velocities`` for all in every step.

    One that has ended before the others stands still at its last question; the answer is not used.
    """
    ends: list[Tensor | None] = [None] * len(trajectories)
    asked = [next(one) for one in trajectories]
    while any(end is None for end in ends):
        for index, velocity in enumerate(velocities(asked)):
            if ends[index] is None:
                try:
                    asked[index] = trajectories[index].send(velocity)
                except StopIteration as stop:
                    ends[index] = stop.value
    return ends
