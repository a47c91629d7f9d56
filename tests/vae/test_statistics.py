"""Latent statistics."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from calm.errors import InputError
from calm.vae.base import DEFAULT_STD_FLOOR
from calm.vae.statistics import measure_statistics
from tests.factory import tiny_batch, tiny_vae


def valid_means(vae, batches):
    rows = []
    for batch in batches:
        means = vae.encode(batch.audio).mean
        for clip, samples in zip(means, batch.num_samples.tolist(), strict=True):
            rows.append(clip[: -(-samples // vae.hop)])
    return torch.cat(rows).double()


@torch.no_grad()
def test_statistics_are_those_of_all_valid_frames_and_of_no_padding():
    vae = tiny_vae()
    batches = [tiny_batch([0, 1, 2], hop=vae.hop, seed=seed) for seed in range(3)]
    expected = valid_means(vae, batches)
    measure_statistics(vae, batches)
    assert int(vae.statistics_frames) == len(expected)
    torch.testing.assert_close(vae.latent_mean, expected.mean(0).float(), rtol=1e-4, atol=1e-5)
    std = expected.std(0, correction=0)
    torch.testing.assert_close(vae.latent_std, std.clamp_min(DEFAULT_STD_FLOOR * std.median()).float(), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_how_the_clips_are_batched_does_not_matter():
    first, second = tiny_vae(), tiny_vae()
    batch = tiny_batch([0, 1, 2], hop=first.hop)
    halves = [
        dataclasses.replace(
            batch, **{f: getattr(batch, f)[rows] for f in ("audio", "num_samples", "task")}
        )
        for rows in (slice(0, 1), slice(1, 3))
    ]
    measure_statistics(first, [batch])
    measure_statistics(second, halves)
    torch.testing.assert_close(first.latent_std, second.latent_std)


def test_a_channel_that_hardly_varies_is_floored_and_reported():
    vae = tiny_vae()
    with torch.no_grad():
        vae.encoder.cepstrum.project.weight[2] *= 1e-4
    assert measure_statistics(vae, [tiny_batch([0, 1], hop=vae.hop)]) == [2]


def test_measuring_leaves_the_mode_as_it_was():
    vae = tiny_vae().train()
    measure_statistics(vae, [tiny_batch([0], hop=vae.hop)])
    assert vae.training
    assert vae.has_statistics


def test_no_audio_is_an_error():
    with pytest.raises(InputError, match="No audio"):
        measure_statistics(tiny_vae(), [])
