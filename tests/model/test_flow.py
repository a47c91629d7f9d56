"""Targets, times, stop labels and losses."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from calm.errors import ConfigError
from calm.model.flow import Targets, draw_times
from tests.factory import tiny_batch, tiny_generator


def prepare(num_frames: list[int], *, block_size: int, complete: list[bool] | None = None, frames: int = 16) -> Targets:
    count = len(num_frames)
    return Targets.prepare(
        torch.randn(count, frames, 4, generator=torch.Generator().manual_seed(0)),
        num_frames=torch.tensor(num_frames),
        complete=torch.tensor(complete or [True] * count),
        task=torch.zeros(count, dtype=torch.int64),
        block_size=block_size,
        num_copies=2,
        generator=torch.Generator().manual_seed(0),
    )


def terms_of(targets: Targets, velocity: torch.Tensor | None = None):
    shape = targets.noisy.shape
    velocity = torch.zeros(shape) if velocity is None else velocity
    return targets.terms(velocity, torch.zeros(shape[0], shape[2]), torch.zeros(()), positive_weight=1.0)


def test_the_true_velocity_has_no_error_and_leads_from_noise_to_data():
    targets = prepare([16], block_size=4)
    velocity = targets.latents[:, None] - targets.noise
    assert terms_of(targets, velocity).error.abs().max() == 0
    arrived = targets.noisy + (1 - targets.time[..., None]) * velocity
    torch.testing.assert_close(arrived, targets.latents[:, None].expand_as(arrived))


def test_one_time_per_block_and_copy():
    time = prepare([16], block_size=4).time.view(2, 4, 4)
    assert (time == time[..., :1]).all()
    assert time[..., 0].flatten().unique().numel() == 8


@pytest.mark.parametrize(("frames", "valid", "label"), [(1, 4, 0), (4, 4, 3), (5, 8, 4), (16, 16, 15)])
def test_the_stop_label_is_one_from_the_last_frame_with_signal_to_the_end_of_its_block(frames, valid, label):
    targets = prepare([frames], block_size=4)
    assert targets.num_valid.item() == valid
    logits = torch.zeros(1, targets.latents.shape[1])
    high = targets.terms(torch.zeros_like(targets.noisy), logits + 50, torch.zeros(()), positive_weight=1.0)
    wrong = (high.stop[0] > 1).nonzero().flatten().tolist()
    assert wrong == list(range(label))


def test_a_cropped_clip_does_not_teach_stopping_but_teaches_sound():
    terms = terms_of(prepare([8, 8], block_size=4, complete=[False, True]))
    assert not terms.stop_valid[0].any() and terms.stop_valid[1].any()
    assert terms.valid[0].any()


@pytest.mark.parametrize("block_size", range(1, 17))
def test_no_block_size_loses_the_end_of_a_clip_or_its_stop_label(block_size):
    root = tiny_generator(block_sizes=(block_size,))
    batch = tiny_batch([1, 2], frames=16)
    batch = dataclasses.replace(batch, num_samples=torch.tensor([16 * 32, 5 * 32]))
    terms = root.flow_terms(batch, torch.Generator().manual_seed(0))
    assert terms.valid.sum(-1).tolist() == [block_size * math.ceil(frames / block_size) for frames in (16, 5)]
    assert terms.error.shape[-1] >= 16


def test_a_clip_shorter_than_a_block_is_one_block():
    root = tiny_generator(block_sizes=(8,))
    terms = root.flow_terms(tiny_batch([1], frames=3), torch.Generator().manual_seed(0))
    assert terms.valid.sum() == 8


def test_times_are_stratified_and_lie_within_zero_and_one():
    times = draw_times((4, 500), like=torch.zeros(()), generator=torch.Generator().manual_seed(0)).flatten()
    assert times.min() >= 0 and times.max() <= 1
    # 90 % logit-normal(0, 1) and 10 % uniform: half lie below 0.5, and P(t < 0.1) = 0.9 Phi(-2.197) + 0.01.
    assert abs((times < 0.5).double().mean() - 0.5) < 0.005
    assert abs((times < 0.1).double().mean() - (0.9 * 0.0140 + 0.01)) < 0.005


def test_history_noise_is_bounded_marked_by_its_time_and_absent_at_probability_zero():
    targets = prepare([16] * 64, block_size=4)
    clean, ones = targets.history(probability=0.0, level=0.15, generator=torch.Generator().manual_seed(0))
    assert torch.equal(clean, targets.latents) and (ones == 1).all()
    _, time = targets.history(probability=0.5, level=0.15, generator=torch.Generator().manual_seed(0))
    noised = time[:, 0] < 1
    assert 16 < noised.sum() < 48
    assert time.min() >= 0.85 and (time == time[:, :1]).all()


@pytest.mark.parametrize("model", ["ar_flow", "head_flow"])
def test_errors_are_counted_by_task_over_the_valid_frames_only(model):
    root = tiny_generator(model)
    batch = tiny_batch([1, 1])
    sums, counts = root.errors_by_noise(batch, num_bins=5, generator=torch.Generator().manual_seed(1))
    assert sums.shape == counts.shape == (3, 5)
    assert counts.sum() == counts[1].sum() == (4 * (batch.num_samples / 32 / 4).ceil()).sum()
    assert (sums[[0, 2]] == 0).all()


@pytest.mark.parametrize("model", ["ar_flow", "head_flow"])
def test_the_same_generator_gives_the_same_loss(model):
    root = tiny_generator(model).train()
    batch = tiny_batch([0, 1, 2], reference_frames=4)
    first, second = (root.losses(batch, generator=torch.Generator().manual_seed(7))["loss"] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, root.losses(batch, generator=torch.Generator().manual_seed(8))["loss"])


def test_validation_logs_the_same_names_on_every_rank_whatever_its_tasks():
    names = []
    for tasks in ([0, 1, 2], [1]):
        root = tiny_generator()
        root.log_dict = lambda values, **_: names.append(sorted(values))
        root.validation_step(tiny_batch(tasks), 0)
    assert names[0] == names[1] == ["val/flow", "val/loss", "val/stop"]


def test_flex_attention_off_cuda_is_refused_in_words():
    with pytest.raises(ConfigError, match="CUDA only"):
        tiny_generator(attention="flex").losses(tiny_batch([1]), generator=torch.Generator())
