"""DNSMOS equals the package whose networks it runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from calm.audio import mel_filterbank
from calm.scorers.dnsmos import DNSMOS
from calm.scorers.optional import need
from calm.types import Waveform

NEEDS = 'needs `pip install "audiocalm[eval]"`'
pytest.importorskip("onnxruntime", reason=NEEDS)
speechmos = pytest.importorskip("speechmos.dnsmos", reason=NEEDS)


@pytest.fixture(scope="module")
def scorer() -> DNSMOS:
    need("librosa.feature.spectral")  # the package would compile it beside another process
    return DNSMOS()


def buzz(seconds: float, *, seed: int = 0) -> np.ndarray:
    """A voice-like buzz that goes on and off, and noise below it."""
    rng, t = np.random.default_rng(seed), np.arange(int(16_000 * seconds)) / 16_000
    tones = sum(np.sin(2 * np.pi * 120 * k * t * (1 + 0.01 * np.sin(2 * t))) / k for k in range(1, 25))
    return (0.1 * tones * (np.sin(7 * t) > -0.3) + 0.01 * rng.standard_normal(len(t))).clip(-1, 1).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.6, 9.01, 10.5, 18.2], ids=["repeated", "one window", "two", "past a gap"])
def test_opinions_are_the_packages_own(scorer, seconds):
    audio = buzz(seconds)
    expected = speechmos.run(audio, 16_000)
    found = scorer.score(Waveform(audio=torch.from_numpy(audio)[None], sample_rate=16_000))
    for name in ("sig", "bak", "ovrl", "p808"):
        assert getattr(found, name) == pytest.approx(float(expected[f"{name}_mos"]), abs=1e-4)


def test_an_overshoot_is_cut_where_the_package_would_refuse_it(scorer):
    loud = 1.5 * buzz(0.6) / np.abs(buzz(0.6)).max()
    found = scorer.score(Waveform(audio=torch.from_numpy(loud)[None], sample_rate=16_000))
    assert found.ovrl == pytest.approx(float(speechmos.run(loud.clip(-1, 1), 16_000)["ovrl_mos"]), abs=1e-4)


@pytest.mark.parametrize("n_fft", [321, 320, 1024])
def test_mel_filters_of_odd_and_even_transforms_are_librosas(n_fft):
    ours = mel_filterbank(sample_rate=16_000, n_fft=n_fft, num_mels=40).numpy()
    np.testing.assert_allclose(ours, need("librosa.filters").mel(sr=16_000, n_fft=n_fft, n_mels=40), atol=1e-6)
