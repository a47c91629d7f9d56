"""The analysis from which encoder and decoder start."""

from __future__ import annotations

import torch

from calm.vae.cepstrum import Cepstrum, Envelope

SIZES = {"patch": 4, "n_fft": 128, "hop": 32, "num_mels": 8, "sample_rate": 8000}


def clips(count: int = 24) -> torch.Tensor:
    """Noise whose loudness and colour wander, [B, 1, S]."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, 1, 64 * 32, generator=generator)
    loudness = torch.nn.functional.interpolate(torch.randn(count, 1, 12, generator=generator), size=noise.shape[-1])
    dark = torch.nn.functional.avg_pool1d(noise, 9, 1, 4)
    return (noise * torch.rand(count, 1, 1, generator=generator) + 2 * dark) * (loudness - 3).exp()


def loss_of(cepstrum: Cepstrum, audio: torch.Tensor) -> float:
    """Mean squared error of the levels, each less its mean, after projection and its pseudo-inverse."""
    with torch.no_grad():
        levels = cepstrum.levels(audio).flatten(0, 1)
        levels = levels - levels.mean(dim=0)
        weight = cepstrum.project.weight
        return float((levels @ weight.T @ torch.linalg.pinv(weight).T - levels).square().mean())


def test_the_envelope_inverts_a_cepstrum_that_loses_nothing():
    cepstrum = Cepstrum(1, 32, **SIZES)  # 4 frames x 8 bands = 32 rows
    envelope = Envelope(cepstrum)
    with torch.no_grad():
        level = 0.5 * (envelope.project(cepstrum(clips())) - envelope.project.bias)
        centred = cepstrum.levels(clips()) + torch.linalg.pinv(cepstrum.project.weight) @ cepstrum.project.bias
    torch.testing.assert_close(level, centred, rtol=0, atol=1e-4)


def test_the_envelope_has_the_loudness_of_the_stft():
    """Mean log-magnitudes of noise come back within the error of smoothing over a band."""
    cepstrum = Cepstrum(1, 32, **SIZES)
    audio = 0.1 * torch.randn(8, 1, 64 * 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        level = Envelope(cepstrum)(cepstrum(audio))
    window = torch.hann_window(128)
    magnitude = torch.stft(audio[:, 0], 128, 32, window=window, return_complex=True).abs()
    assert abs(level.mean() - magnitude.mean().log()) < 0.15


def test_fitting_loses_no_more_than_the_smallest_components():
    audio, cepstrum = clips(), Cepstrum(1, 12, **SIZES)
    before = loss_of(cepstrum, audio)
    cepstrum.fit(audio)
    variances = torch.linalg.eigvalsh(torch.cov(cepstrum.levels(audio).flatten(0, 1).double().T))
    assert loss_of(cepstrum, audio) < 1.01 * float(variances[:-12].mean()) * (32 - 12) / 32 < before


def test_a_fitted_cepstrum_has_centred_rows_whose_spread_falls_slowly():
    cepstrum = Cepstrum(1, 12, **SIZES)
    cepstrum.fit(clips())
    with torch.no_grad():
        rows = cepstrum(clips()).flatten(0, 1)
    assert rows.mean(dim=0).abs().max() < 1e-3
    spread = rows.std(dim=0)
    assert (spread.diff() < 1e-3).all()
