"""Rate, channels, level, length and mel spectrogram of waveforms."""

from __future__ import annotations

import functools
import math

import numpy as np
import soxr
import torch
from einops import rearrange, reduce, repeat
from torch import Tensor
from torch.nn import functional

from calm.errors import InputError
from calm.types import Waveform

__all__ = [
    "fit",
    "level_dbfs",
    "mel_filterbank",
    "mel_spectrogram",
    "peak_normalize",
    "resample",
    "set_level",
    "to_channels",
]

SILENCE_DBFS = -120.0


def resample(waveform: Waveform, sample_rate: int) -> Waveform:
    """Return the waveform at ``sample_rate`` Hz, band-limited by soxr; S becomes about S * new / old, at least 1."""
    if sample_rate <= 0:
        raise InputError(f"The sample rate must be positive, got {sample_rate}", allowed="for example 16000 or 44100")
    if sample_rate == waveform.sample_rate:
        return waveform
    samples = rearrange(waveform.audio.detach().cpu(), "a s -> s a").numpy()
    converted = soxr.resample(samples, waveform.sample_rate, sample_rate, quality="HQ")
    if len(converted) == 0:
        # Only a handful of samples: the filter has nothing to give, the first one stands for them.
        converted = samples[:1]
    audio = torch.from_numpy(np.ascontiguousarray(rearrange(converted, "s a -> a s")))
    return Waveform(audio=audio.to(waveform.audio), sample_rate=sample_rate)


def to_channels(waveform: Waveform, channels: int) -> Waveform:
    """Return the waveform with 1 or 2 channels: the mean of all, or mono duplicated; more than 2 go through mono."""
    if channels not in (1, 2):
        raise InputError(f"Cannot make {channels} channels", allowed="1 (mono) or 2 (stereo)")
    audio = waveform.audio
    if audio.shape[0] == channels:
        return waveform
    mono = reduce(audio, "a s -> s", "mean")
    return Waveform(audio=repeat(mono, "s -> a s", a=channels), sample_rate=waveform.sample_rate)


def peak_normalize(waveform: Waveform, *, peak: float = 0.95) -> Waveform:
    """Scale so that the largest magnitude is ``peak``; silence stays silence."""
    largest = float(waveform.audio.abs().max()) if waveform.audio.numel() else 0.0
    scale = peak / largest if largest > 0 else 1.0
    return Waveform(audio=waveform.audio * scale, sample_rate=waveform.sample_rate)


def level_dbfs(audio: Tensor) -> float:
    """Return the root mean square of ``audio`` [..., S] in dB relative to full scale 1.0, at least -120."""
    if audio.numel() == 0:
        return SILENCE_DBFS
    power = float(audio.double().square().mean())
    return max(SILENCE_DBFS, 10 * math.log10(power)) if power > 0 else SILENCE_DBFS


def set_level(waveform: Waveform, *, dbfs: float = -23.0, peak: float = 0.99) -> Waveform:
    """Scale to a root mean square of ``dbfs``, or less where a sample would pass ``peak``; silence stays silence."""
    level = level_dbfs(waveform.audio)
    if level <= SILENCE_DBFS:
        return waveform
    scale = 10 ** ((dbfs - level) / 20)
    scale = min(scale, peak / float(waveform.audio.abs().max()))
    return Waveform(audio=waveform.audio * scale, sample_rate=waveform.sample_rate)


def fit(audio: Tensor, num_samples: int) -> Tensor:
    """Cut ``audio`` [..., S] at its end, or pad it with silence there, to [..., num_samples]."""
    length = audio.shape[-1]
    return audio[..., :num_samples] if length >= num_samples else functional.pad(audio, (0, num_samples - length))


def mel_spectrogram(
    audio: Tensor,
    *,
    sample_rate: int,
    n_fft: int,
    hop: int,
    num_mels: int,
    power: float = 1.0,
    f_min: float = 0.0,
    f_max: float | None = None,
) -> Tensor:
    """Return the mel spectrogram [..., num_mels, S // hop + 1] of ``audio`` [..., S]; differentiable.

    Hann window, centred frames. The ends are padded with silence rather than by reflection, so that
    clips shorter than a window work. ``power`` 1 sums magnitudes, 2 sums energies.
    """
    lead = audio.shape[:-1]
    window = torch.hann_window(n_fft, device=audio.device, dtype=audio.dtype)
    spectrum = torch.stft(
        audio.reshape(-1, audio.shape[-1]),
        n_fft,
        hop_length=hop,
        window=window,
        center=True,
        pad_mode="constant",
        return_complex=True,
    )  # [*, n_fft // 2 + 1, frames]
    magnitude = spectrum.abs() if power == 1.0 else spectrum.abs().pow(power)
    filters = mel_filterbank(sample_rate=sample_rate, n_fft=n_fft, num_mels=num_mels, f_min=f_min, f_max=f_max)
    mel = filters.to(magnitude) @ magnitude  # [*, num_mels, frames]
    return mel.reshape(*lead, *mel.shape[-2:])


def mel_filterbank(
    *, sample_rate: int, n_fft: int, num_mels: int, f_min: float = 0.0, f_max: float | None = None
) -> Tensor:
    """Return triangular filters of equal area, float32 [num_mels, n_fft // 2 + 1].

    Scale and area as in M. Slaney, "Auditory Toolbox", Interval Research TR 1998-010: linear below
    1 kHz (15 mel), logarithmic above (27 mel for each factor 6.4); each filter's area is 1 per hertz.
    """
    # The cache holds NumPy: a tensor first made in inference mode could never be used in training again.
    top = sample_rate / 2 if f_max is None else f_max
    return torch.from_numpy(_filters(sample_rate, n_fft, num_mels, f_min, top).copy())


@functools.lru_cache(maxsize=64)
def _filters(sample_rate: int, n_fft: int, num_mels: int, f_min: float, f_max: float) -> np.ndarray:
    if not 0 <= f_min < f_max <= sample_rate / 2:
        raise InputError(f"Mel filters need 0 <= {f_min} < {f_max} <= {sample_rate / 2} Hz (half the sample rate)")
    corners = _mel_to_hz(np.linspace(_hz_to_mel(f_min), _hz_to_mel(f_max), num_mels + 2))
    lower, centre, upper = (rearrange(x, "m -> m 1") for x in (corners[:-2], corners[1:-1], corners[2:]))
    # The last bin of an odd transform lies below half the rate.
    bins = np.linspace(0.0, sample_rate / 2 * (n_fft // 2 * 2 / n_fft), n_fft // 2 + 1)
    rising = (bins - lower) / (centre - lower)
    falling = (upper - bins) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * 2.0 / (upper - lower)).astype(np.float32)


def _hz_to_mel(hz: float) -> float:
    return 15.0 * hz / 1000.0 if hz < 1000.0 else 15.0 + 27.0 * math.log(hz / 1000.0) / math.log(6.4)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15.0, mel * 1000.0 / 15.0, 1000.0 * 6.4 ** ((mel - 15.0) / 27.0))
