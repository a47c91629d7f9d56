"""Pitch in the latents: measured by the encoder, sounded by the decoder."""

from __future__ import annotations

import math

import pytest
import torch

from calm.registry import build
from calm.vae.pitch import CENTRE_HERTZ, PITCH_SCALE, HarmonicSource, PitchTracker
from tests.factory import TINY_VAE

RATE, HOP, STFT_HOP, N_FFT, POINTS = 16_000, 1280, 80, 320, 4
VAE = {
    **TINY_VAE,
    "latent_dim": 24,
    "patch": 4,
    "strides": (5, 4, 4, 4),
    "encoder_widths": (4, 4, 8, 16),
    "encoder_dilations": (1,),
    "n_fft": N_FFT,
    "stft_hop": STFT_HOP,
    "num_mels": 20,
    "pitch_points": POINTS,
}


def tracker() -> PitchTracker:
    return PitchTracker(POINTS, hop=HOP, stft_hop=STFT_HOP, sample_rate=RATE)


def source() -> HarmonicSource:
    return HarmonicSource(POINTS, frames_per_latent=HOP // STFT_HOP, n_fft=N_FFT, hop=STFT_HOP, sample_rate=RATE)


def voice(hertz: float, *, latents: int = 8) -> torch.Tensor:
    """Ten equal harmonics [1, 1, S]."""
    time = torch.arange(latents * HOP, dtype=torch.float64) / RATE
    return 0.05 * sum(torch.sin(2 * math.pi * k * hertz * time) for k in range(1, 11)).float().view(1, 1, -1)


def test_a_high_tone_is_among_the_harmonics_of_what_is_found():
    """Short periods fall between samples, so a multiple of the period may win; its harmonics hold the tone."""
    rows = tracker()(voice(440.0))[0, 2:-2, :POINTS]
    ratio = 440 / (CENTRE_HERTZ * (rows / PITCH_SCALE).exp())
    assert (ratio / ratio.round() - 1).abs().max() < 0.01


@pytest.mark.parametrize("hertz", [75.0, 123.4, 200.0, 290.0])
def test_the_pitch_of_a_voice_is_found(hertz):
    rows = tracker()(voice(hertz))[0, 2:-2]
    found = CENTRE_HERTZ * (rows[:, :POINTS] / PITCH_SCALE).exp()
    assert (found / hertz - 1).abs().max() < 0.01
    assert rows[:, POINTS:].min() > 0.8


def test_noise_and_silence_are_unvoiced():
    noise = 0.1 * torch.randn(1, 1, 16 * HOP, generator=torch.Generator().manual_seed(0))
    assert tracker()(noise)[..., POINTS:].mean() < -0.8
    assert (tracker()(torch.zeros(1, 1, 2 * HOP))[..., POINTS:] == -1).all()


def test_the_source_is_the_spectrum_of_unit_harmonics():
    """The frames of a steady pitch are those of an STFT of the same harmonics, up to where the phase starts."""
    hertz = 320.0  # 6.4 bins apart: harmonics do not overlap
    rows = torch.cat([torch.full((1, 2, POINTS), PITCH_SCALE * math.log(hertz / CENTRE_HERTZ)), torch.ones(1, 2, POINTS)], -1)
    magnitude, phase, voicing = source()(rows, {})
    spectrum = torch.polar(magnitude, phase)
    # Frame n is centred at phase (n + 1) * hop: cosines that start one hop before the first centre.
    time = (torch.arange(-N_FFT // 2, 2 * HOP + N_FFT, dtype=torch.float64) + STFT_HOP) / RATE
    harmonics = sum(torch.cos(2 * math.pi * k * hertz * time) for k in range(1, int(RATE / 2 / hertz) + 1))
    window = torch.hann_window(N_FFT, dtype=torch.float64)
    frames = harmonics.unfold(0, N_FFT, STFT_HOP)[: spectrum.shape[1]] * window
    expected = torch.fft.rfft(frames) / (window.sum() / 2)
    inside = slice(4, -8)  # lowest and highest harmonics also see their mirror images
    error = (spectrum[0].to(torch.complex128) - expected)[:, inside].abs()
    assert error.max() < 0.03
    assert voicing.eq(1).all()


def test_phase_stays_exact_over_an_hour():
    steady = torch.cat([torch.zeros(1, 64, POINTS), torch.ones(1, 64, POINTS)], -1)
    one, state = source(), {}
    for _ in range(700):  # 64 latents of 80 ms each: an hour
        spectrum = torch.polar(*one(steady, state)[:2])
    # 150 Hz at a hop of 5 ms: the phase repeats every 4 frames, now as in the beginning.
    fresh = torch.polar(*one(steady, {})[:2])
    torch.testing.assert_close(spectrum[:, :8], fresh[:, :8], rtol=0, atol=1e-3)


@pytest.mark.parametrize("look_ahead", [0, 1])
@pytest.mark.parametrize("sizes", [[1] * 9, [4, 4, 1], [2, 7]])
def test_a_stream_with_pitch_equals_the_whole(look_ahead, sizes):
    torch.manual_seed(0)
    vae = build("vae", VAE | {"look_ahead_frames": look_ahead}).eval()
    torch.nn.init.normal_(vae.decoder.head.project.weight, std=0.1)
    with torch.no_grad():
        latents = vae.encode(voice(140.0, latents=9) + 0.01 * torch.randn(1, 1, 9 * HOP)).mean
        whole, stream = vae.decode(latents), vae.stream()
        parts = [stream.push(piece) for piece in latents.split(sizes, dim=1)] + [stream.finish()]
    torch.testing.assert_close(torch.cat(parts, dim=-1), whole, rtol=0, atol=1e-5)


def test_a_fitted_vae_sounds_like_the_clip_before_any_training():
    """The decoder starts from the inverse of what the encoder starts from: level and pitch are there at step 0."""
    torch.manual_seed(0)
    vae = build("vae", VAE | {"latent_dim": 48}).eval()
    generator = torch.Generator().manual_seed(0)
    clips = torch.cat([voice(h) * 10 ** (0.3 * torch.randn(1, 1, 1, generator=generator)) for h in range(80, 400, 4)])
    clips = clips + 0.003 * torch.randn(clips.shape, generator=generator)
    vae.start_from(clips)
    with torch.no_grad():
        again = vae.decode(vae.encode(voice(210.0)).mean)
    level = again[..., HOP:-HOP].square().mean().sqrt() / voice(210.0)[..., HOP:-HOP].square().mean().sqrt()
    assert 0.5 < level < 2
    heard = tracker()(again)[0, 2:-2]
    assert (CENTRE_HERTZ * (heard[:, :POINTS] / PITCH_SCALE).exp() / 210 - 1).abs().median() < 0.02
