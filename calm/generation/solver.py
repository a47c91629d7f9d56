"""Solvers of the flow's ordinary differential equation, from noise (t = 0) to data (t = 1)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from torch import Tensor

from calm.model.grid import GRIDS, time_grid

__all__ = ["GRIDS", "ORDERS", "SOLVERS", "Point", "solve", "time_grid", "trajectory"]


@dataclass(frozen=True, slots=True)
class Point:
    """Where a velocity is asked for: at x and t, or with a ``span`` its average over t to t + span.

    Only some models know averages (``FlowHead.averages``).
    """

    x: Tensor
    t: float
    span: float | None = None


#: yields points, is sent the velocity of each, and returns the end
Trajectory = Generator[Point, Tensor, Tensor]
#: the velocities of as many points
Velocities = Callable[[Sequence[Point]], Sequence[Tensor]]


def _euler(x: Tensor, t: float, dt: float) -> Trajectory:
    return x + dt * (yield Point(x, t))


def _midpoint(x: Tensor, t: float, dt: float) -> Trajectory:
    half = x + dt / 2 * (yield Point(x, t))
    return x + dt * (yield Point(half, t + dt / 2))


def _average(x: Tensor, t: float, dt: float) -> Trajectory:
    """No approximation but the network's: x_r = x_t + (r - t) u(x_t, t, r) (MeanFlow, Geng et al., 2025)."""
    return x + dt * (yield Point(x, t, span=dt))


SOLVERS = {"euler": _euler, "midpoint": _midpoint, "average": _average}
#: velocities that a step of a solver asks for
ORDERS = {"euler": 1, "midpoint": 2, "average": 1}


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
