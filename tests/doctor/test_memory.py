"""The prediction of a rank's memory: what adds to what, and the largest batch."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from calm.doctor.finding import Level
from calm.doctor.memory import GIB, check_memory, encoding_bytes, largest_batch, predict
from calm.doctor.parameters import count_parameters
from tests.factory import tiny_generator

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
LIGHT = ["vae=tiny", "vae_ckpt_path=null"]


@pytest.fixture
def memory_script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("memory")


def test_every_trained_weight_takes_twenty_bytes_and_a_frozen_one_four():
    root = tiny_generator()
    sizes = count_parameters(root)
    assert sizes.trained == sum(p.numel() for p in root.parameters() if p.requires_grad) == sum(sizes.by_part.values())
    memory = predict(root, precision="32-true", device="cpu")
    lasting = memory.weights + memory.gradients + memory.optimizer + memory.averaged
    assert lasting == 20 * sizes.trained + 4 * sizes.frozen
    assert memory.total == lasting + 4 * 2 * sizes.largest


def test_ranks_double_the_gradients_and_sharding_divides_what_is_trained():
    root = tiny_generator()
    one, two, sharded = (
        predict(root, precision="32-true", device="cuda", **more)
        for more in ({}, {"world_size": 2}, {"world_size": 2, "is_sharded": True})
    )
    assert two.total == one.total + one.gradients
    assert sharded.optimizer == pytest.approx(one.optimizer / 2, abs=8)
    assert sharded.buckets == 0 and sharded.total < one.total


def test_the_largest_batch_has_the_longest_clip_of_the_shards_in_whole_blocks(case):
    run = case(*LIGHT, "data.reference_probability=0", "data.frame_multiple=3", "model.block_sizes=[4]")
    shape = largest_batch(run)
    longest = max(row.clip.seconds for row in run.train.rows)
    frames = longest * run.root.vae.frame_rate
    assert frames <= shape.frames < frames + 13 and shape.frames % 12 == 0
    assert shape.clips == 4 and shape.reference == 0 and shape.speech == 4
    assert largest_batch(case(*LIGHT, "data.max_seconds=0.5")).frames < shape.frames
    assert largest_batch(case(*LIGHT, "trainer.devices=2")).clips == 2


def test_a_budget_of_frames_bounds_the_largest_batch_of_all_ranks_together(case):
    words = [*LIGHT, "data.reference_probability=0", "data.frame_multiple=4", "model.block_sizes=[4]"]
    run = case(*words, "data.max_frames_per_batch=400")
    shape, by_clips = largest_batch(run), largest_batch(case(*words))
    assert 400 - shape.frames < shape.clips * shape.frames <= 400
    # Texts stand before every clip, so here many short clips weigh more than few long ones.
    assert shape.frames < by_clips.frames and shape.clips > by_clips.clips
    assert largest_batch(case(*words, "data.max_frames_per_batch=400", "trainer.devices=2")).clips == -(-shape.clips // 2)


def test_without_shards_the_limits_stand_in(case):
    shape = largest_batch(case(*LIGHT, "data.train=nowhere", "data.max_seconds=10"))
    assert shape.frames >= 125 and shape.reference == 63


def test_audio_takes_memory_to_encode(case):
    run = case(*LIGHT)
    assert encoding_bytes(run.root.vae, clips=2, frames=10) == 2 * encoding_bytes(run.root.vae, clips=1, frames=10) > 0


def test_a_model_that_does_not_fit_is_an_error_that_says_how_much_it_needs(case, monkeypatch):
    assert next(check_memory(case(*LIGHT))).level == Level.OK
    monkeypatch.setattr("calm.doctor.memory._available", lambda case: 1000)
    found = next(check_memory(case(*LIGHT)))
    assert found.level == Level.ERROR and "GiB a rank" in found.value and "data.batch_size" in found.hint


def test_the_benchmark_measures_the_model_that_it_predicts(memory_script):
    root = memory_script.build_root("head_flow", num_layers=1)
    assert len(memory_script.batch_of(root)) == memory_script.CLIPS
    assert memory_script.predicted(root, "bf16-mixed", "cpu").total < GIB


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the prediction is of its allocator")
@pytest.mark.parametrize("case_name", ["ar_flow-32", "head_flow-32", "ar_flow-bf16", "head_flow-bf16"])
def test_the_prediction_is_within_15_percent_of_what_cuda_allocates(memory_script, case_name):
    assert memory_script.measure(case_name, device="cuda")["ratio"] == pytest.approx(1.0, abs=0.15)
