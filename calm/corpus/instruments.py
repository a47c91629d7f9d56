"""Instruments: each function renders one note, [S], including its release, at about peak 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calm.corpus.dsp import band_noise, decay, fade, filter_band, glide, partials, times

__all__ = ["DRUMS", "INSTRUMENTS", "Instrument"]

#: (rng, frequency in Hz, seconds, sample_rate) -> samples
Instrument = Callable[[np.random.Generator, float, float, int], np.ndarray]


def _held(t: np.ndarray, seconds: float, *, attack: float, release: float) -> np.ndarray:
    """Envelope of a blown or bowed note: rise, hold, fall after ``seconds``."""
    rise = np.minimum(1, t / attack)
    return rise * np.clip(1 - (t - seconds) / release, 0, 1)


def piano(rng: np.random.Generator, frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Struck, slightly stretched partials; the high ones fade first."""
    t = times(seconds + 0.15, sample_rate)
    n = np.arange(1, 10)
    ratios = n * np.sqrt(1 + 4e-4 * n**2)
    half_lives = 0.5 / (1 + 0.35 * n) * (440 / frequency) ** 0.4
    tone = partials(t, frequency, ratios, 1 / n**1.3, half_lives=half_lives, sample_rate=sample_rate)
    return fade(0.6 * tone * _held(t, seconds, attack=0.003, release=0.15), sample_rate, seconds=0.002)


def guitar(rng: np.random.Generator, frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Plucked string: a burst of noise in a damped loop (Karplus and Strong, 1983)."""
    return _pluck(rng, frequency, seconds, sample_rate, brightness=4000.0, damping=0.35)


def bass(rng: np.random.Generator, frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Bass guitar: few, strong low partials with a soft pluck."""
    t = times(seconds + 0.08, sample_rate)
    levels, half_lives = (1, 0.7, 0.35, 0.15, 0.08), (0.5, 0.35, 0.2, 0.12, 0.08)
    tone = partials(t, frequency, range(1, 6), levels, half_lives=half_lives, sample_rate=sample_rate)
    return 0.6 * tone * _held(t, seconds, attack=0.006, release=0.08)


def flute(rng: np.random.Generator, frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Nearly pure tone with vibrato and breath."""
    t = times(seconds + 0.08, sample_rate)
    vibrato = frequency * (1 + 0.006 * np.sin(2 * np.pi * 5.2 * t) * np.minimum(1, t / 0.3))
    tone = partials(t, vibrato, (1, 2, 3), (1, 0.25, 0.08), sample_rate=sample_rate)
    breath = 0.05 * band_noise(rng, len(t), frequency, 4 * frequency, sample_rate)
    return 0.75 * (tone + breath) * _held(t, seconds, attack=0.06, release=0.08)


def strings(rng: np.random.Generator, frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """A section of bowed strings: three detuned saw-like voices, slow attack."""
    t = times(seconds + 0.2, sample_rate)
    n = np.arange(1, 9)
    voices = sum(
        partials(t, frequency * (1 + cents), n, 1 / n, sample_rate=sample_rate) for cents in (-0.004, 0.0005, 0.0045)
    )
    return 0.22 * voices * _held(t, seconds, attack=0.12, release=0.2)


def organ(rng: np.random.Generator, frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Pipes at octaves and a fifth, flat envelope."""
    t = times(seconds + 0.06, sample_rate)
    levels = (0.6, 1, 0.7, 0.45, 0.5, 0.25)
    tone = partials(t, frequency, (0.5, 1, 2, 3, 4, 8), levels, sample_rate=sample_rate)
    return 0.33 * tone * _held(t, seconds, attack=0.02, release=0.06)


def marimba(rng: np.random.Generator, frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Wooden bar: fundamental and the tuned fourth partial, short."""
    t = times(max(seconds, 0.45), sample_rate)
    tone = partials(t, frequency, (1, 4, 9.2), (1, 0.45, 0.12), half_lives=(0.09, 0.03, 0.012), sample_rate=sample_rate)
    return fade(0.8 * np.minimum(1, t / 0.001) * tone, sample_rate, seconds=0.003)


def bells(rng: np.random.Generator, frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Tubular bells by frequency modulation at an irrational ratio (Chowning, 1973)."""
    t = times(max(seconds, 0.9), sample_rate)
    carrier = 2 * np.pi * frequency * t
    index = 2.2 * np.exp2(-t / 0.2)
    return fade(0.8 * np.sin(carrier + index * np.sin(3.5 * carrier)) * decay(t, 0.3), sample_rate, seconds=0.003)


def synth(rng: np.random.Generator, frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Square-like lead whose brightness closes after the attack."""
    t = times(seconds + 0.04, sample_rate)
    n = np.arange(1, 16, 2)
    half_lives = 1.2 / n
    tone = partials(t, frequency, n, 1.3 / n, half_lives=half_lives, sample_rate=sample_rate)
    return 0.55 * tone * _held(t, seconds, attack=0.005, release=0.04)


def trumpet(rng: np.random.Generator, frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
    """Brass: upper harmonics enter after the lower ones and outweigh them."""
    t = times(seconds + 0.06, sample_rate)
    levels = (0.6, 0.9, 1, 0.8, 0.6, 0.4, 0.3, 0.2)
    phase = glide(frequency * (1 + 0.004 * np.sin(2 * np.pi * 5.5 * t) * np.minimum(1, t / 0.4)), sample_rate)
    tone = np.zeros(len(t))
    for n, level in enumerate(levels, start=1):
        if n * frequency < 0.47 * sample_rate:
            tone += level * np.sin(n * phase) * np.minimum(1, t / (0.015 + 0.012 * n))
    return 0.28 * tone * _held(t, seconds, attack=0.02, release=0.06)


def _pluck(
    rng: np.random.Generator, frequency: float, seconds: float, sample_rate: int, *, brightness: float, damping: float
) -> np.ndarray:
    """Karplus-Strong one period at a time: each period is the two-point mean of the one before.

    The mean delays by half a sample, so the period is ``sample_rate / frequency - 1/2`` samples,
    rounded; the loop is resampled to the exact pitch at the end.
    """
    num = round((seconds + 0.1) * sample_rate)
    period = max(2, round(sample_rate / frequency - 0.5))
    wave = filter_band(rng.uniform(-1, 1, period + 1), 0, brightness, sample_rate)
    wave = (wave - wave.mean()) / max(1e-9, np.abs(wave - wave.mean()).max())
    loss = 0.5 ** (1 / (damping * frequency))
    ratio = frequency * (period + 0.5) / sample_rate
    periods = np.empty((int(num * ratio) // period + 2, period))
    last, current = wave[0], wave[1:]
    for row in periods:
        row[:] = current
        shifted = np.concatenate(([last], current[:-1]))
        last, current = current[-1], loss * 0.5 * (current + shifted)
    string = np.interp(np.arange(num) * ratio, np.arange(periods.size), periods.ravel())
    return string * _held(np.arange(num) / sample_rate, seconds, attack=0.001, release=0.1)


def kick(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    t = times(0.3, sample_rate)
    return fade(np.sin(glide(55 * (1 + 2.5 * np.exp(-t / 0.025)), sample_rate)) * decay(t, 0.06), sample_rate)


def snare(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    t = times(0.2, sample_rate)
    body = 0.5 * np.sin(2 * np.pi * 190 * t) * decay(t, 0.03)
    return fade(body + 0.3 * band_noise(rng, len(t), 1200, 6500, sample_rate) * decay(t, 0.035), sample_rate)


def hat(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    t = times(0.08, sample_rate)
    return 0.25 * band_noise(rng, len(t), 5000, 7600, sample_rate, order=4) * decay(t, 0.012, attack=0.001)


INSTRUMENTS: dict[str, Instrument] = {
    function.__name__: function
    for function in (piano, guitar, bass, flute, strings, organ, marimba, bells, synth, trumpet)
}

#: the drum kit has sounds, not pitches
DRUMS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {"kick": kick, "snare": snare, "hat": hat}
