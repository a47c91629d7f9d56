"""Grids of times."""

from __future__ import annotations

import itertools

import pytest

from calm.model.grid import FEW_STEPS, GRIDS, time_grid


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("num_steps", [1, 2, 4, 7, 32])
def test_times_rise_from_noise_to_data(grid, num_steps):
    times = time_grid(num_steps, grid=grid)
    assert len(times) == num_steps + 1 and times[0] == 0 and times[-1] == 1
    assert all(first < second for first, second in itertools.pairwise(times))


def test_auto_is_uniform_for_few_steps_and_dense_near_the_noise_for_more():
    assert time_grid(4, grid="auto") == [0, 0.25, 0.5, 0.75, 1]
    assert time_grid(FEW_STEPS, grid="auto") == time_grid(FEW_STEPS, grid="uniform")
    more = time_grid(FEW_STEPS + 1, grid="auto")
    assert more == time_grid(FEW_STEPS + 1, grid="sway") and more[1] - more[0] < (more[-1] - more[-2]) / 4
