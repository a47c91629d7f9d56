"""Sound events that can be counted: each function renders one occurrence, [S] at any level."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calm.corpus.dsp import add_at, band_noise, decay, fade, filter_band, glide, partials, times

__all__ = ["STRUCK", "Struck"]

#: (rng, sample_rate) -> samples of one occurrence
Struck = Callable[[np.random.Generator, int], np.ndarray]


def bell(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Inharmonic partials of a church bell, the low ones ringing longest."""
    t = times(1.6, sample_rate)
    ratios, levels = (0.5, 1, 1.19, 1.5, 2, 2.74, 3.76), (0.5, 1, 0.7, 0.4, 0.6, 0.4, 0.3)
    half_lives = (0.6, 0.4, 0.3, 0.25, 0.2, 0.12, 0.08)
    tone = partials(t, rng.uniform(520, 760), ratios, levels, half_lives=half_lives, sample_rate=sample_rate)
    return fade(np.minimum(1, t / 0.002) * tone, sample_rate)


def bark(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A short harmonic yelp that falls in pitch, with breath."""
    t = times(0.24, sample_rate)
    pitch = rng.uniform(320, 480) * (0.6 + 0.8 * np.sin(np.pi * np.minimum(1, t / 0.24)) ** 0.7)
    voice = partials(t, pitch, range(1, 11), [1, 0.9, 0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1], sample_rate=sample_rate)
    breath = 0.5 * band_noise(rng, len(t), 500, 2500, sample_rate)
    return (voice + breath) * np.sin(np.pi * t / 0.24) ** 0.8


def meow(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A long harmonic glide up and down whose vowel opens in the middle."""
    t = times(0.8, sample_rate)
    arch = np.sin(np.pi * t / 0.8)
    pitch = rng.uniform(480, 620) * (0.8 + 0.5 * arch)
    dull = partials(t, pitch, (1, 2), (1, 0.4), sample_rate=sample_rate)
    bright = partials(t, pitch, (2, 3, 4, 5, 6), (0.7, 0.8, 0.6, 0.3, 0.15), sample_rate=sample_rate)
    return arch**0.6 * (dull + arch**2 * bright)


def moo(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A low, long voice with a rich spectrum."""
    t = times(1.3, sample_rate)
    pitch = rng.uniform(105, 140) * (0.85 + 0.25 * np.sin(np.pi * t / 1.3))
    levels = [0.6, 1, 0.9, 0.6, 0.4, 0.3, 0.25, 0.15, 0.1, 0.08]
    return np.sin(np.pi * t / 1.3) ** 0.5 * partials(t, pitch, range(1, 11), levels, sample_rate=sample_rate)


def door(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A slam: a low thud, a crack of the frame and a short rattle."""
    t = times(0.7, sample_rate)
    thud = 1.6 * np.sin(glide(rng.uniform(60, 85) * (1 + np.exp(-t / 0.02)), sample_rate)) * decay(t, 0.06)
    crack = band_noise(rng, len(t), 150, 3000, sample_rate) * decay(t, 0.025)
    rattle = 0.25 * band_noise(rng, len(t), 300, 1200, sample_rate) * decay(t, 0.1)
    return fade(thud + crack + rattle, sample_rate)


def knock(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A knuckle on wood: two damped modes and a click."""
    t = times(0.18, sample_rate)
    base = rng.uniform(260, 380)
    wood = partials(t, base, (1, 2.3, 3.9), (1, 0.6, 0.3), half_lives=(0.02, 0.012, 0.006), sample_rate=sample_rate)
    return np.minimum(1, t / 0.001) * wood + 0.3 * band_noise(rng, len(t), 500, 5000, sample_rate) * decay(t, 0.003)


def drop(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A water drop: the rising chirp of the bubble it leaves."""
    t = times(0.22, sample_rate)
    return np.sin(glide(rng.uniform(600, 900) * (1 + 7 * t), sample_rate)) * decay(t, 0.035)


def horn(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A car horn: two steady reeds a third apart."""
    t = times(0.6, sample_rate)
    base = rng.uniform(380, 430)
    levels = [1, 0.9, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2]
    reeds = sum(partials(t, base * r, range(1, 9), levels, sample_rate=sample_rate) for r in (1, 1.26))
    return fade(reeds, sample_rate, seconds=0.03)


def whistle(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A referee's whistle: a high tone that trills, with breath."""
    t = times(0.6, sample_rate)
    trill = 1 + 0.03 * np.sin(2 * np.pi * 32 * t)
    tone = np.sin(glide(rng.uniform(2300, 2900) * trill, sample_rate)) * (0.75 + 0.25 * np.sin(2 * np.pi * 32 * t))
    return fade(tone + 0.08 * band_noise(rng, len(t), 2000, 6000, sample_rate), sample_rate, seconds=0.03)


def chirp(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A bird: three quick falling sweeps."""
    out = np.zeros(round(0.5 * sample_rate))
    t = times(0.1, sample_rate)
    high = rng.uniform(4200, 5200)
    for number in range(3):
        sweep = np.sin(glide(high * (1 - 0.35 * t / 0.1), sample_rate)) * np.sin(np.pi * t / 0.1)
        add_at(out, sweep, round(0.16 * number * sample_rate))
    return out


def cuckoo(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Two flute-like notes, a major third down."""
    out = np.zeros(round(0.85 * sample_rate))
    high = rng.uniform(640, 720)
    for start, length, pitch in ((0, 0.25, high), (0.35, 0.45, high / 1.26)):
        t = times(length, sample_rate)
        note = (
            partials(t, pitch, (1, 2, 3), (1, 0.15, 0.05), sample_rate=sample_rate) * np.sin(np.pi * t / length) ** 0.6
        )
        add_at(out, note, round(start * sample_rate))
    return out


def phone(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """An old telephone: two small gongs struck twenty times a second."""
    t = times(1.0, sample_rate)
    base = rng.uniform(1150, 1350)
    gongs = partials(t, base, (1, 1.27, 2.4, 3.1), (1, 1, 0.5, 0.4), sample_rate=sample_rate)
    return fade(gongs * np.exp2(-((20 * t) % 1) * 3), sample_rate, seconds=0.04)


def glass(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A clink: very high modes."""
    t = times(0.5, sample_rate)
    base = rng.uniform(2300, 2700)
    tone = partials(t, base, (1, 1.52, 2.33), (1, 0.8, 0.6), half_lives=(0.08, 0.06, 0.03), sample_rate=sample_rate)
    return np.minimum(1, t / 0.001) * tone


def drum(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A bass drum: a sine that falls to its rest pitch."""
    t = times(0.5, sample_rate)
    body = np.sin(glide(rng.uniform(75, 100) * (1 + 1.5 * np.exp(-t / 0.03)), sample_rate)) * decay(t, 0.09)
    return fade(body + 0.15 * band_noise(rng, len(t), 800, 4000, sample_rate) * decay(t, 0.005), sample_rate)


def zap(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A toy laser: a buzzing sweep from high to low."""
    t = times(0.35, sample_rate)
    sweep = rng.uniform(2200, 2800) * np.exp(-t / 0.12) + 120
    return fade(partials(t, sweep, (1, 3, 5), (1, 0.33, 0.2), sample_rate=sample_rate), sample_rate) * decay(t, 0.3)


def beep(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """An electronic alarm: a steady pure tone with hard edges."""
    t = times(0.25, sample_rate)
    tone = partials(t, rng.uniform(950, 1050), (1, 3), (1, 0.2), sample_rate=sample_rate)
    return fade(tone, sample_rate, seconds=0.005)


def thunder(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A crack, then low noise that rolls away."""
    t = times(2.4, sample_rate)
    roll = band_noise(rng, len(t), 25, 130, sample_rate) * np.minimum(1, t / 0.1) * np.exp2(-t / 0.6)
    roll *= 0.65 + 0.35 * np.sin(2 * np.pi * rng.uniform(2.5, 4) * t + rng.uniform(0, 6))
    crack = 0.5 * band_noise(rng, len(t), 100, 1500, sample_rate) * decay(t, 0.06, attack=0.01)
    return fade(roll + crack, sample_rate, seconds=0.2)


def pop(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A bursting balloon: a single broadband click."""
    t = times(0.12, sample_rate)
    return band_noise(rng, len(t), 300, 7000, sample_rate, order=1) * decay(t, 0.008, attack=0.0005)


def owl(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A soft, breathy low hoot."""
    t = times(0.55, sample_rate)
    arch = np.sin(np.pi * t / 0.55)
    tone = partials(t, rng.uniform(310, 370) * (0.93 + 0.07 * arch), (1, 2), (1, 0.08), sample_rate=sample_rate)
    return arch * (tone + 0.05 * filter_band(rng.standard_normal(len(t)), 200, 900, sample_rate))


def saw(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """One stroke of a hand saw: noise chopped by the teeth."""
    t = times(0.5, sample_rate)
    teeth = 0.5 + 0.5 * np.sign(np.sin(glide(rng.uniform(60, 75) * (0.6 + np.sin(np.pi * t / 0.5)), sample_rate)))
    return np.sin(np.pi * t / 0.5) * teeth * band_noise(rng, len(t), 1200, 5000, sample_rate)


STRUCK: dict[str, Struck] = {
    function.__name__: function
    for function in (
        bell, bark, meow, moo, door, knock, drop, horn, whistle, chirp, cuckoo, phone, glass, drum, zap, beep,
        thunder, pop, owl, saw,
    )
}  # fmt: skip
