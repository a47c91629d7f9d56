"""Building blocks of the synthesisers: oscillators, envelopes, noise bands, levels. All arrays are [S].

Filters work on the spectrum of the whole clip, so there is no loop over samples anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = [
    "add_at",
    "band_noise",
    "decay",
    "fade",
    "filter_band",
    "glide",
    "partials",
    "place_many",
    "set_peak",
    "set_rms",
    "swell",
    "times",
]


def times(seconds: float, sample_rate: int) -> np.ndarray:
    """Return the time of each sample in seconds."""
    return np.arange(max(1, round(seconds * sample_rate))) / sample_rate


def decay(t: np.ndarray, half_life: float, *, attack: float = 0.002) -> np.ndarray:
    """Return a struck envelope: linear rise over ``attack``, then halving every ``half_life`` seconds."""
    return np.minimum(1.0, t / attack) * np.exp2(-t / half_life)


def fade(audio: np.ndarray, sample_rate: int, *, seconds: float = 0.02) -> np.ndarray:
    """Return ``audio`` with raised-cosine ends, so that nothing starts or stops with a click."""
    num = min(len(audio) // 2, round(seconds * sample_rate))
    if num == 0:
        return audio
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(num) + 0.5) / num)
    out = audio.copy()
    out[:num] *= ramp
    out[-num:] *= ramp[::-1]
    return out


def swell(t: np.ndarray, rate: float, *, phase: float = 0.0, depth: float = 1.0) -> np.ndarray:
    """Return a slow level 1-depth..1 that rises and falls ``rate`` times a second."""
    return 1 - depth * (0.5 + 0.5 * np.cos(2 * np.pi * (rate * t + phase)))


def glide(frequency: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the phase in radians of an oscillator whose ``frequency`` in Hz is given per sample."""
    return 2 * np.pi * np.cumsum(frequency) / sample_rate


def partials(
    t: np.ndarray,
    frequency: float | np.ndarray,
    ratios: Sequence[float],
    levels: Sequence[float],
    *,
    half_lives: Sequence[float] | None = None,
    sample_rate: int,
) -> np.ndarray:
    """Return a sum of sines at ``frequency * ratios``; those above the Nyquist frequency are left out."""
    base = glide(frequency, sample_rate) if np.ndim(frequency) else 2 * np.pi * frequency * t
    highest = np.max(frequency)
    out = np.zeros(len(t))
    for number, (ratio, level) in enumerate(zip(ratios, levels, strict=True)):
        if highest * ratio < 0.47 * sample_rate:
            wave = level * np.sin(ratio * base)
            out += wave if half_lives is None else wave * np.exp2(-t / half_lives[number])
    return out


def filter_band(audio: np.ndarray, low: float, high: float, sample_rate: int, *, order: int = 2) -> np.ndarray:
    """Return ``audio`` limited to ``low``..``high`` Hz with Butterworth slopes and zero phase."""
    size = _fast_size(len(audio))
    frequency = np.fft.rfftfreq(size, 1 / sample_rate)
    gain = 1 / (1 + (frequency / high) ** (2 * order))
    if low > 0:
        gain *= 1 - 1 / (1 + (frequency / low) ** (2 * order))
    return np.fft.irfft(np.fft.rfft(audio, size) * gain, size)[: len(audio)]


def band_noise(
    rng: np.random.Generator, num: int, low: float, high: float, sample_rate: int, *, order: int = 2
) -> np.ndarray:
    """Return ``num`` samples of noise in ``low``..``high`` Hz with RMS 1."""
    noise = filter_band(rng.standard_normal(num), low, high, sample_rate, order=order)
    return noise / max(1e-9, float(np.sqrt(np.mean(noise**2))))


def add_at(target: np.ndarray, source: np.ndarray, start: int) -> None:
    """Add ``source`` into ``target`` from sample ``start`` on; what reaches past the end is cut."""
    num = min(len(source), len(target) - start)
    if num > 0:
        target[start : start + num] += source[:num]


def place_many(target: np.ndarray, grains: Sequence[np.ndarray], starts: np.ndarray, levels: np.ndarray) -> None:
    """Add many short ``grains``, in turn, at ``starts`` (samples) with ``levels``."""
    for number, (start, level) in enumerate(zip(starts, levels, strict=True)):
        add_at(target, level * grains[number % len(grains)], int(start))


def set_peak(audio: np.ndarray, peak: float) -> np.ndarray:
    """Return ``audio`` scaled to the given peak."""
    return audio * (peak / max(1e-9, float(np.abs(audio).max())))


def set_rms(audio: np.ndarray, rms: float, *, peak: float = 0.9) -> np.ndarray:
    """Return ``audio`` scaled to the given RMS, or less where the peak would pass ``peak``."""
    level = max(1e-9, float(np.sqrt(np.mean(audio**2))))
    return audio * min(rms / level, peak / max(1e-9, float(np.abs(audio).max())))


def _fast_size(num: int) -> int:
    """Return a length >= num with small prime factors, where the FFT is fast."""
    power = 1 << max(4, (num - 1).bit_length())
    return next(size for size in (power * 5 // 8, power * 3 // 4, power) if size >= num)
