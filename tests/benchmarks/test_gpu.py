"""The benchmark of a GPU runs on a CPU as well, on tiny models."""

from __future__ import annotations

import pytest
import torch

from benchmarks.gpu.generation import generation
from benchmarks.gpu.timing import medians
from benchmarks.gpu.training import training


@pytest.mark.parametrize("expert", [False, True])
def test_a_step_is_timed_beside_a_causal_model_that_the_expert_has_no_place_in(expert):
    found = training("tiny", device="cpu", rounds=1, clips=2, frames=16, compiled=False, expert=expert, attention="dense")
    assert found["ours"]["flops"] > 0 and found["ours"]["mfu"] > 0
    assert ("causal" in found) is not expert
    if not expert:
        # Two rows for one, and a text before them.
        assert found["ours"]["flops"] > 2 * found["causal"]["flops"]


def test_clips_are_generated_alone_and_together():
    found = generation("tiny", device="cpu", rounds=1, seconds=0.5, compiled=False, batches=(1, 2))
    assert found["batch 1"]["first_audio"]["seconds"] > 0 and found["batch 2"]["rtf"]["seconds"] > 0
    assert found["batch 2"]["pass"]["rows"] == 2 * found["batch 1"]["pass"]["rows"]


def test_jobs_take_turns():
    order = []
    found = medians({name: lambda name=name: order.append(name) for name in "ab"}, device="cpu", rounds=2, warm_up=0)
    assert order == ["a", "b", "a", "b"] and set(found) == {"a", "b"}
    assert torch.tensor([found["a"][key] for key in ("low", "seconds", "high")]).diff().ge(0).all()
