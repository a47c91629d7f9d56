"""Fidelity of reconstructions."""

from __future__ import annotations

import pytest
import torch

from calm.errors import InputError
from calm.evaluation.reconstruction import MelDistance, compare, reconstruct
from calm.types import Waveform
from tests.factory import tiny_vae


def clip(seconds: float = 1.0, *, rate: int = 16000) -> Waveform:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, round(seconds * rate), generator=generator)
    beat = 1 + torch.sin(torch.arange(noise.shape[-1]) * 2 * torch.pi * 4 / rate)
    return Waveform(audio=0.1 * noise * beat, sample_rate=rate)


def with_noise(original: Waveform, level: float) -> Waveform:
    noise = torch.randn(original.audio.shape, generator=torch.Generator().manual_seed(1))
    return Waveform(audio=original.audio + level * noise, sample_rate=original.sample_rate)


def test_a_perfect_copy_has_no_distance_and_full_intelligibility():
    pytest.importorskip("pystoi", reason='needs `pip install "audiocalm[eval]"`')
    found = compare(clip(), clip(), distance=MelDistance(16000))
    assert found.mel == 0 and found.stoi == pytest.approx(1, abs=1e-6)


def test_more_noise_is_farther_and_less_intelligible():
    pytest.importorskip("pystoi", reason='needs `pip install "audiocalm[eval]"`')
    rows = [compare(with_noise(clip(), level), clip(), distance=MelDistance(16000)) for level in (0.01, 0.1, 0.5)]
    assert rows[0].mel < rows[1].mel < rows[2].mel
    assert rows[0].stoi > rows[1].stoi > rows[2].stoi


def test_a_clip_too_short_for_intelligibility_has_no_value():
    assert compare(clip(0.3), clip(0.3), distance=MelDistance(16000)).stoi is None


@pytest.mark.parametrize("rate", [16000, 22050])
def test_a_reconstruction_is_as_long_as_the_clip_at_the_vaes_rate(rate):
    ours = reconstruct(tiny_vae(), clip(0.517, rate=rate))
    assert ours.sample_rate == 16000
    assert ours.audio.shape[-1] == pytest.approx(0.517 * 16000, abs=1)


def test_clips_of_another_rate_than_the_distance_are_refused():
    with pytest.raises(InputError):
        compare(clip(rate=8000), clip(rate=8000), distance=MelDistance(16000))
