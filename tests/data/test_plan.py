from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from calm.data.batching import ByClips
from calm.data.plan import Plan
from calm.errors import DataError
from calm.types import TASKS, Task

ROWS = {Task.SPEECH: range(0, 40), Task.SOUND: range(40, 60), Task.MUSIC: range(60, 67)}
SECONDS = np.random.default_rng(0).uniform(1, 10, size=67)


def plan(weights=None, **options) -> Plan:
    weights_at = weights if callable(weights) else lambda step: weights or {"speech": 1, "sound": 1, "music": 1}
    return Plan(
        ROWS, **{"seconds": SECONDS, "batching": ByClips(8), "seed": 0, "weights_at": weights_at, "bucket_steps": 4, **options}
    )


def test_the_plan_is_a_function_of_seed_and_step():
    steps = [17, 3, 400, 3, 0]
    first, second = plan(), plan()
    assert [first.batch(s) for s in steps] == [second.batch(s) for s in reversed(steps)][::-1]
    assert plan(seed=1).batch(3) != first.batch(3)


def test_every_clip_of_a_task_is_drawn_once_per_epoch_in_a_new_order():
    made = plan()
    draws = [draw for step in range(60) for draw in made.batch(step) if draw.task is Task.SOUND]
    draws.sort(key=lambda draw: draw.number)
    assert [draw.number for draw in draws] == list(range(len(draws)))
    epochs = [[draw.row for draw in draws[i : i + 20]] for i in range(0, 140, 20)]
    assert all(sorted(epoch) == list(range(40, 60)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 7


def test_the_shares_are_exact_within_one_sample_after_every_batch():
    rng = np.random.default_rng(3)
    for batch_size in (1, 3, 16):
        weights = dict(zip(TASKS, rng.dirichlet([0.5] * 3), strict=True))
        made = plan(weights, batching=ByClips(batch_size), bucket_steps=1)
        drawn: Counter[Task] = Counter()
        for step in range(200):
            drawn.update(draw.task for draw in made.batch(step))
            total = (step + 1) * batch_size
            assert max(abs(drawn[task] - total * weights[task]) for task in TASKS) < 1


def test_a_task_that_is_switched_off_is_not_drawn_from_that_very_step():
    def weights(step):
        return {"speech": 1, "sound": 1, "music": 1} if step < 10 else {"sound": 1, "music": 2}

    made = plan(weights)
    assert any(draw.task is Task.SPEECH for draw in made.batch(9) + made.batch(8))
    assert not any(draw.task is Task.SPEECH for step in range(10, 30) for draw in made.batch(step))
    late = Counter(draw.task for step in range(10, 34) for draw in made.batch(step))
    assert abs(late[Task.SOUND] - 64) < 1 and abs(late[Task.MUSIC] - 128) < 1


def test_sorting_by_length_within_a_window_leaves_less_padding():
    lengths = np.random.default_rng(1).uniform(1, 10, size=300)

    def padding(bucket_steps):
        rows = {task: range(100 * task.id, 100 * task.id + 100) for task in TASKS}
        made = Plan(
            rows, seconds=lengths, batching=ByClips(6), seed=0, weights_at=lambda step: {"speech": 1, "sound": 1}, bucket_steps=bucket_steps
        )
        batches = [[lengths[draw.row] for draw in made.batch(step)] for step in range(96)]
        return 1 - sum(map(sum, batches)) / sum(max(b) * len(b) for b in batches)

    assert padding(16) < 0.12 < 0.3 < padding(1)


def test_no_batch_holds_a_clip_twice_where_there_are_enough():
    made = plan({"speech": 1}, bucket_steps=8)
    for step in range(0, 100, 5):  # an epoch of 40 clips is five batches of eight
        drawn = [draw.row for s in range(step, step + 5) for draw in made.batch(s)]
        assert all(len({draw.row for draw in made.batch(s)}) == 8 for s in range(step, step + 5))
        assert len(drawn) == 40


def test_a_saved_state_continues_without_walking_through_the_past():
    calls: list[int] = []

    def weights(step):
        calls.append(step)
        return {"speech": 2, "sound": 1, "music": 1} if step < 700 else {"speech": 1, "sound": 1}

    straight = plan(weights)
    expected = [straight.batch(step) for step in range(1001, 1010)]
    resumed = plan(weights)
    resumed.seek(straight.state(1001))
    calls.clear()
    assert [resumed.batch(step) for step in range(1001, 1010)] == expected
    assert min(calls) >= 1000


def test_spares_are_other_clips_of_the_same_task_and_always_the_same():
    made = plan()
    draw = made.batch(5)[0]
    spares = list(made.spares(5, draw))
    assert sorted([*spares, draw.row]) == list(ROWS[draw.task])
    assert spares == list(plan().spares(5, draw))


@pytest.mark.parametrize(
    ("weights", "message"), [({"speech": -1, "sound": 2}, "weights are"), ({"noise": 1}, "unknown tasks"), ({}, None)]
)
def test_weights_that_make_no_sense_are_refused(weights, message):
    made = Plan({Task.SPEECH: [0]}, seconds=[1.0], batching=ByClips(1), seed=0, weights_at=lambda step: weights)
    with pytest.raises(DataError, match=message):
        made.batch(0)


def test_a_weight_without_clips_names_the_task():
    made = Plan({Task.SPEECH: [0]}, seconds=[1.0], batching=ByClips(1), seed=0, weights_at=lambda step: {"music": 1})
    with pytest.raises(DataError, match="hold no music"):
        made.batch(0)


def test_a_limit_draws_every_short_clip_once_per_epoch_and_no_longer_one():
    short = {row for row in ROWS[Task.SPEECH] if SECONDS[row] <= 5}
    made = plan({"speech": 1}, batching=ByClips(1), bucket_steps=1, longest_at=lambda step: {Task.SPEECH: 5.0})
    assert {made.batch(step)[0].row for step in range(len(short))} == short
    assert all(SECONDS[made.batch(step)[0].row] <= 5 for step in range(len(short), 100))


def test_a_limit_that_ends_within_a_window_moves_no_draw_across():
    made = plan(longest_at=lambda step: {Task.SPEECH: 4.0} if step < 6 else {})
    early = [draw for step in range(6) for draw in made.batch(step) if draw.task is Task.SPEECH]
    late = [draw for step in range(6, 40) for draw in made.batch(step) if draw.task is Task.SPEECH]
    assert max(SECONDS[draw.row] for draw in early) <= 4 < max(SECONDS[draw.row] for draw in late)
    sound = [draw for step in range(6) for draw in made.batch(step) if draw.task is Task.SOUND]
    assert max(SECONDS[draw.row] for draw in sound) > 4  # other tasks have no limit


def test_a_limit_below_every_clip_is_refused():
    with pytest.raises(DataError, match=r"No clip of speech is as short as 0\.5 s"):
        plan(longest_at=lambda step: {Task.SPEECH: 0.5}).batch(0)
