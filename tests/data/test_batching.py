"""Batches by a budget of padded frames, and the plan that makes them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calm.data.batching import ByFrames
from calm.data.plan import Plan
from calm.errors import ConfigError
from calm.types import TASKS

RATE, MULTIPLE, BUDGET = 10.0, 4, 1200
SECONDS = list(np.random.default_rng(0).lognormal(1.2, 0.6, size=900).clip(0.5, 20))
ROWS = {task: range(300 * task.id, 300 * task.id + 300) for task in TASKS}


def budget(max_frames=BUDGET, longest=20.0) -> ByFrames:
    return ByFrames(max_frames=max_frames, longest_seconds=longest, frame_rate=RATE, frame_multiple=MULTIPLE)


def plan(weights_at=lambda step: {"speech": 3, "sound": 1, "music": 1}, seed=0, **options) -> Plan:
    options = {"bucket_steps": 8, "batching": budget(), **options}
    return Plan(ROWS, seconds=SECONDS, seed=seed, weights_at=weights_at, **options)


def padded(draws) -> int:
    return len(draws) * max(budget().size(SECONDS[draw.row]) for draw in draws)


def test_a_clip_costs_its_frames_rounded_up_to_the_multiple():
    assert [budget().size(seconds) for seconds in (0.01, 0.4, 0.401, 2.8, 20)] == [4, 4, 8, 28, 200]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=160, max_size=160), st.integers(1, 3), st.integers(160, 200))
def test_a_full_cut_keeps_the_budget_and_leaves_no_batch_a_mere_rest(lengths, num_steps, max_frames):
    made = budget(max_frames, longest=16.0)
    count = next(n for n in range(160) if not made.fits(sorted(4 * size for size in lengths[: n + 1]), num_steps))
    sizes = sorted(4 * size for size in lengths[:count])
    counts = made.cut(sizes, num_steps)
    assert len(counts) == num_steps and sum(counts) == count and min(counts) >= made.least >= 1
    ends = np.cumsum(counts)
    assert all(number * sizes[end - 1] <= max_frames for number, end in zip(counts, ends, strict=True))


def test_every_batch_fills_the_budget_and_none_exceeds_it():
    made = plan()
    costs = [padded(made.batch(step)) for step in range(80)]
    assert max(costs) <= BUDGET and np.mean(costs) > 0.9 * BUDGET


def test_little_is_padded_in_windows_of_many_steps():
    made = plan(bucket_steps=64, batching=budget(600))
    draws = [made.batch(step) for step in range(20)]
    frames = sum(np.ceil(SECONDS[draw.row] * RATE) for batch in draws for draw in batch)
    assert made.bucket_steps > 8 and frames / sum(map(padded, draws)) > 0.85


def test_the_plan_by_frames_is_a_function_of_seed_and_step():
    first, second, steps = plan(), plan(), [17, 3, 90, 3, 0]
    assert [first.batch(s) for s in steps] == [second.batch(s) for s in reversed(steps)][::-1]
    assert plan(seed=1).batch(3) != first.batch(3)


def test_no_clip_is_lost_between_windows_and_the_shares_stay_exact():
    made, drawn = plan(), Counter()
    for window in range(12):
        draws = [draw for step in range(8 * window, 8 * window + 8) for draw in made.batch(step)]
        for task in TASKS:
            numbers = sorted(draw.number for draw in draws if draw.task is task)
            assert numbers == list(range(drawn[task], drawn[task] + len(numbers)))
            drawn[task] += len(numbers)
        total = drawn.total()
        assert all(abs(drawn[task] - total * share) < 1 for task, share in zip(TASKS, (0.6, 0.2, 0.2), strict=True))


def test_a_phase_that_begins_within_a_window_moves_no_draw_across():
    made = plan(lambda step: {"speech": 1} if step < 11 else {"sound": 1, "music": 1})
    tasks = [{draw.task.id for draw in made.batch(step)} for step in range(24)]
    assert tasks[:11] == [{0}] * 11 and all(0 not in found for found in tasks[11:])
    assert max(padded(made.batch(step)) for step in range(24)) <= BUDGET


def test_a_saved_state_continues_by_frames_without_walking_through_the_past():
    calls: list[int] = []

    def weights(step):
        calls.append(step)
        return {"speech": 2, "sound": 1}

    straight = plan(weights)
    expected = [straight.batch(step) for step in range(203, 210)]
    resumed = plan(weights)
    resumed.seek(straight.state(203))
    calls.clear()
    assert [resumed.batch(step) for step in range(203, 210)] == expected and min(calls) >= 200


def test_a_budget_that_gives_no_rank_a_clip_is_refused_with_the_least():
    with pytest.raises(ConfigError, match=r"holds 0 clips") as caught:
        budget(199)
    assert "200 or more" in str(caught.value)
    with pytest.raises(ConfigError, match="too few for 7 processes"):
        budget().check_ranks(7)
