"""The benchmark of the plan in small: little padding, the way back, the shares, and the reading next to webdataset."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("plan")


def test_a_budget_of_frames_leaves_95_percent_useful_in_windows_of_64_steps(script):
    sizes = script.by_frames(4)
    made = script.plan_of(script.lengths(15_000), sizes, bucket_steps=64)
    found = script.useful(made, sizes, num_steps=64)
    assert made.bucket_steps == 64 and found["useful"] >= 0.95 and found["largest_cost"] <= script.MAX_FRAMES


def test_step_one_million_is_reached_from_a_state_without_the_steps_before(script, monkeypatch):
    walked: list[int] = []
    monkeypatch.setattr(script.Plan, "_skip", lambda self, window, state: walked.append(window))
    assert script.return_to(script.lengths(500), script.by_frames(4), bucket_steps=8) > 0 and not walked


def test_the_shares_of_any_mixture_are_within_a_draw_from_the_start_on(script):
    for weights in np.random.default_rng(5).dirichlet([0.7] * 3, size=3):
        found = script.share_error(weights, num_draws=2500)
        assert found["from_start"] < 1 and found["any_1000"] <= 1.5


def test_both_loaders_read_every_clip_of_the_same_shards(script, tmp_path):
    shards = script.make_shards(tmp_path, num_files=12, seconds=0.1)
    for stream in (script.planned_clips(shards), script.webdataset_clips(shards)):
        assert len({sample.key for sample in itertools.islice(stream, 150)}) == 12
    assert script.compare(shards, pairs=2, clips=16)["ratio"] > 0
    assert script.memory_growth(shards, num_samples=40)["resident_mb"] > 0
