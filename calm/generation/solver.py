"""Solvers of the flow's ordinary differential equation, from noise (t = 0) to data (t = 1)."""

from __future__ import annotations

import itertools
from typing import Protocol

from torch import Tensor

from calm.model.grid import GRIDS, time_grid

__all__ = ["GRIDS", "ORDERS", "SOLVERS", "solve", "time_grid"]


class Velocity(Protocol):
    """Velocity at x and t; with a ``span`` its average over t to t + span, which only some models know."""

    def __call__(self, x: Tensor, t: float, *, span: float | None = None) -> Tensor: ...


def _euler(velocity: Velocity, x: Tensor, t: float, dt: float) -> Tensor:
    return x + dt * velocity(x, t)


def _midpoint(velocity: Velocity, x: Tensor, t: float, dt: float) -> Tensor:
    return x + dt * velocity(x + dt / 2 * velocity(x, t), t + dt / 2)


def _average(velocity: Velocity, x: Tensor, t: float, dt: float) -> Tensor:
    """No approximation but the network's: x_r = x_t + (r - t) u(x_t, t, r) (MeanFlow, Geng et al., 2025)."""
    return x + dt * velocity(x, t, span=dt)


SOLVERS = {"euler": _euler, "midpoint": _midpoint, "average": _average}
#: velocities that a step of a solver asks for
ORDERS = {"euler": 1, "midpoint": 2, "average": 1}


def solve(velocity: Velocity, noise: Tensor, *, num_steps: int, solver: str, grid: str) -> Tensor:
    """Integrate dx/dt = velocity(x, t) from ``noise`` at t = 0 to t = 1. The state keeps its own type."""
    step, x = SOLVERS[solver], noise
    for t, following in itertools.pairwise(time_grid(num_steps, grid=grid)):
        x = step(velocity, x, t, following - t)
    return x
