"""Differences are paired over clips, and a verdict needs the clips and every seed."""

from __future__ import annotations

import numpy as np
import pytest

from calm.ablation.compare import QUESTIONS, Errors
from calm.ablation.held_out import ClipErrors
from calm.ablation.plan import VARIANTS
from calm.ablation.results import RunResult
from calm.errors import DataError
from calm.types import TASKS, Task

CLIPS, BINS = 40, 4
#: error per frame added to that of a task's own run
COST = {"mixed": 0.05, "symmetric": 0.02, "amome": 0.01}


def result(variant, seed, *, cost, keys=None):
    """Clips differ far more from each other than variants do."""
    frames = np.random.default_rng(0).integers(1, 9, size=(CLIPS, BINS)).astype(float)
    level = np.random.default_rng(1).uniform(0.2, 2.0, size=(CLIPS, 1))
    noise = 0.001 * np.random.default_rng([2, seed]).standard_normal((CLIPS, BINS))
    errors = ClipErrors(
        keys=keys or [f"clip{i}" for i in range(CLIPS)],
        error=(frames * (level + cost + noise)).tolist(),
        frames=frames.tolist(),
    )
    return RunResult(
        step=3, seconds=1.0, parameters=10, clips={}, frames={}, shards=[], errors=dict.fromkeys(map(str, variant.tasks), errors)
    )


def results(cost=None, seeds=(0, 1)):
    cost = cost or (lambda name, seed: COST.get(name, 0.0))
    return {
        (v.name, style, seed): result(v, seed, cost=cost(v.name, seed))
        for v in VARIANTS
        for style in ("description", "raw")
        for seed in seeds
    }


def answers(errors, task=Task.MUSIC, style="raw"):
    return {q.name: errors.difference(q, style=style, task=task) for q in QUESTIONS}


def test_the_differences_are_those_that_were_put_in():
    found = answers(Errors(results()))
    expected = {"mixing": 0.05, "amome": -0.04, "remains": 0.01, "symmetric": -0.03, "asymmetry": -0.01}
    assert {name: d.figure.value for name, d in found.items()} == pytest.approx(expected, abs=1e-9)
    assert found["mixing"].verdict == "higher" and found["amome"].verdict == "lower"


def test_the_pairing_over_clips_is_used():
    """Unpaired, clips between 0.2 and 2 would drown a difference of 0.01."""
    errors = Errors(results())
    difference = answers(errors)["remains"].figure
    cell = errors.cell(("amome", "raw"), Task.MUSIC).figure
    assert difference.high - difference.low < 0.001 < 0.1 < cell.high - cell.low


def test_seeds_that_disagree_leave_the_answer_open():
    found = answers(Errors(results(lambda name, seed: (0.05, -0.01)[seed] if name == "mixed" else 0.0)))["mixing"]
    assert found.by_seed == pytest.approx((0.05, -0.01)) and found.figure.low > 0
    assert found.verdict == "open"


def test_no_difference_is_open():
    assert answers(Errors(results(lambda name, seed: 0.0)))["mixing"].verdict == "open"


def test_every_noise_level_and_every_task_is_compared():
    errors = Errors(results())
    for task in TASKS:
        assert answers(errors, task=task)["mixing"].by_noise == pytest.approx([0.05] * BINS)
    assert errors.style_difference("amome", task=Task.SOUND).figure.value == 0


def test_runs_that_were_judged_on_other_clips_are_refused():
    changed = results()
    amome = VARIANTS[-1]
    changed["amome", "raw", 1] = result(amome, 1, cost=0.0, keys=[f"other{i}" for i in range(CLIPS)])
    with pytest.raises(DataError, match="different clips or noise"):
        Errors(changed)
