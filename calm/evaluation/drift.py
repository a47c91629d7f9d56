"""Drift of a long clip: what changes from its first to its last seconds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from calm.audio import level_dbfs, mel_spectrogram, resample, to_channels
from calm.errors import InputError
from calm.evaluation.reconstruction import latents_of
from calm.types import Waveform
from calm.vae import VAE

__all__ = ["Drift", "measure_drift"]

WINDOW_SECONDS = 20.0
N_FFT, HOP, NUM_MELS = 1024, 256, 40
FLOOR_DB = -80.0


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Last window against the first.

    level_db: change of the RMS level. spectrum_db: mean absolute change of the mean mel spectrum, levels made
    equal. latent_mean: RMS over channels of the change of the mean, in standard deviations of all speech or
    music (latents are normalised). latent_std: geometric mean over channels of the ratio of the spreads;
    1 is no change, near 0 a collapse. loudest_db, quietest_db: levels of the loudest and quietest window in
    between, relative to the first.
    """

    level_db: float
    spectrum_db: float
    latent_mean: float
    latent_std: float
    loudest_db: float
    quietest_db: float
    seconds: float


def measure_drift(clip: Waveform, *, vae: VAE, window_seconds: float = WINDOW_SECONDS) -> Drift:
    """Measure one clip of at least two windows."""
    clip = to_channels(resample(clip, vae.sample_rate), vae.channels)
    length = round(window_seconds * clip.sample_rate)
    samples = clip.audio.shape[-1]
    if samples < 2 * length:
        raise InputError(f"The clip has {clip.seconds:.1f} s", where="drift", allowed=f"at least {2 * window_seconds} s")
    windows = [clip.audio[:, start : start + length] for start in range(0, samples - length + 1, length)]
    first, last = windows[0], clip.audio[:, -length:]
    levels = [level_dbfs(window) - level_dbfs(first) for window in [*windows, last]]
    a, b = (_latents(vae, window) for window in (first, last))
    spread = (b.std(dim=0).clamp_min(1e-6) / a.std(dim=0).clamp_min(1e-6)).log().mean().exp()
    return Drift(
        level_db=levels[-1],
        spectrum_db=float((_spectrum(last, vae.sample_rate) - _spectrum(first, vae.sample_rate)).abs().mean()),
        latent_mean=float((b.mean(dim=0) - a.mean(dim=0)).square().mean().sqrt()),
        latent_std=float(spread),
        loudest_db=max(levels),
        quietest_db=min(levels),
        seconds=clip.seconds,
    )


def _spectrum(audio: Tensor, sample_rate: int) -> Tensor:
    """Mean mel spectrum [40] in dB, relative to its own mean level."""
    mel = mel_spectrogram(audio, sample_rate=sample_rate, n_fft=N_FFT, hop=HOP, num_mels=NUM_MELS, power=2.0)
    energy = mel.mean(dim=(0, -1))
    decibels = 10 * (energy / energy.max().clamp_min(1e-12)).clamp_min(10 ** (FLOOR_DB / 10)).log10()
    return decibels - decibels.mean()


def _latents(vae: VAE, audio: Tensor) -> Tensor:
    """Normalised latents [F, C] of a window."""
    return latents_of(vae, audio)[0].float().cpu()
