"""Drift of long clips."""

from __future__ import annotations

import pytest
import torch

from calm.errors import InputError
from calm.evaluation.drift import measure_drift
from calm.types import Waveform
from tests.factory import tiny_vae


def noise(seconds: float, *, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, int(16000 * seconds), generator=torch.Generator().manual_seed(seed))


def test_a_steady_clip_does_not_drift():
    drift = measure_drift(Waveform(audio=noise(8), sample_rate=16000), vae=tiny_vae(), window_seconds=2)
    assert abs(drift.level_db) < 0.2 and drift.spectrum_db < 0.5
    assert drift.latent_std == pytest.approx(1, abs=0.1)


def test_a_fall_of_level_is_measured_in_decibels_and_leaves_the_spectrum():
    audio = noise(8)
    audio[:, -32000:] *= 10 ** (-6 / 20)
    drift = measure_drift(Waveform(audio=audio, sample_rate=16000), vae=tiny_vae(), window_seconds=2)
    assert drift.level_db == pytest.approx(-6, abs=0.2) and drift.quietest_db == pytest.approx(-6, abs=0.2)
    assert drift.spectrum_db < 0.5


def test_a_change_of_timbre_is_seen_at_equal_level():
    audio = noise(8)
    dull = torch.nn.functional.avg_pool1d(audio[:, -32000:], 9, stride=1, padding=4)
    audio[:, -32000:] = dull * (audio[:, :32000].norm() / dull.norm())
    drift = measure_drift(Waveform(audio=audio, sample_rate=16000), vae=tiny_vae(), window_seconds=2)
    assert abs(drift.level_db) < 0.2 and drift.spectrum_db > 3


def test_a_clip_of_one_window_is_refused():
    with pytest.raises(InputError):
        measure_drift(Waveform(audio=noise(3), sample_rate=16000), vae=tiny_vae(), window_seconds=2)
