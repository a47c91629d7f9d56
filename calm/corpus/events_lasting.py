"""Sound events that last: each function fills the wanted number of samples, [S] at any level."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calm.corpus.dsp import band_noise, decay, filter_band, glide, partials, place_many, swell, times

__all__ = ["LASTING", "Lasting"]

#: (rng, num_samples, sample_rate) -> samples
Lasting = Callable[[np.random.Generator, int, int], np.ndarray]


def rain(rng: np.random.Generator, num: int, sample_rate: int) -> np.ndarray:
    """Steady bright hiss with many tiny drops."""
    hiss = band_noise(rng, num, 1000, 6500, sample_rate, order=1)
    t = times(0.01, sample_rate)
    grains = [band_noise(rng, len(t), 1500, 7000, sample_rate) * decay(t, 0.002, attack=0.0005) for _ in range(8)]
    count = int(220 * num / sample_rate)
    place_many(hiss, grains, rng.integers(0, num, count), rng.uniform(1, 5, count))
    return hiss


def wind(rng: np.random.Generator, num: int, sample_rate: int) -> np.ndarray:
    """Dark noise whose level and whistling band rise and fall slowly."""
    t = np.arange(num) / sample_rate
    gust = swell(t, rng.uniform(0.3, 0.5), phase=rng.uniform(), depth=0.8)
    low, high = band_noise(rng, num, 120, 350, sample_rate), band_noise(rng, num, 500, 800, sample_rate, order=3)
    return gust * low + 0.6 * gust**3 * high


def waves(rng: np.random.Generator, num: int, sample_rate: int) -> np.ndarray:
    """Surf: broad noise that swells quickly and recedes over seconds."""
    t = np.arange(num) / sample_rate
    position = (t / rng.uniform(1.8, 2.6) + rng.uniform()) % 1
    level = np.where(position < 0.3, np.sin(np.pi * position / 0.6), np.cos(np.pi * (position - 0.3) / 1.4)) ** 2
    return (0.08 + level) * band_noise(rng, num, 150, 2500, sample_rate, order=1)


def fire(rng: np.random.Generator, num: int, sample_rate: int) -> np.ndarray:
    """A low rumble with sparse sharp crackles."""
    out = 0.15 * band_noise(rng, num, 60, 400, sample_rate, order=1)
    t = times(0.02, sample_rate)
    grains = [band_noise(rng, len(t), 900, 7000, sample_rate) * decay(t, 0.002, attack=0.0003) for _ in range(12)]
    count = int(14 * num / sample_rate) + 1
    place_many(out, grains, rng.integers(0, num, count), rng.uniform(0.4, 2.0, count))
    return out


def engine(rng: np.random.Generator, num: int, sample_rate: int) -> np.ndarray:
    """Firing pulses at a steady rate: low harmonics and chopped noise."""
    t = np.arange(num) / sample_rate
    phase = glide(rng.uniform(38, 52) * (1 + 0.02 * np.sin(2 * np.pi * 0.7 * t)), sample_rate)
    body = sum(np.sin(k * phase) / k**0.6 for k in range(1, 9))
    return body + 0.4 * (0.5 + 0.5 * np.sin(phase)) ** 4 * band_noise(rng, num, 200, 1500, sample_rate)


def siren(rng: np.random.Generator, num: int, sample_rate: int) -> np.ndarray:
    """A tone that wails up and down."""
    t = np.arange(num) / sample_rate
    pitch = 900 + 320 * np.sin(2 * np.pi * rng.uniform(0.5, 0.8) * t + rng.uniform(0, 6))
    return partials(t, pitch, (1, 2, 3), (1, 0.4, 0.25), sample_rate=sample_rate)


def applause(rng: np.random.Generator, num: int, sample_rate: int) -> np.ndarray:
    """Hundreds of claps, each a short burst around one kilohertz."""
    out = np.zeros(num)
    t = times(0.03, sample_rate)
    grains = []
    for _ in range(16):
        centre = rng.uniform(800, 1800)
        grains.append(band_noise(rng, len(t), 0.7 * centre, 1.4 * centre, sample_rate) * decay(t, 0.005, attack=0.001))
    count = int(70 * num / sample_rate)
    place_many(out, grains, rng.integers(0, num, count), rng.uniform(0.3, 1, count))
    return out


def clock(rng: np.random.Generator, num: int, sample_rate: int) -> np.ndarray:
    """Tick and tock in turn, twice a second."""
    out = np.zeros(num)
    t = times(0.04, sample_rate)
    pitch = rng.uniform(1700, 2100)
    grains = [np.sin(2 * np.pi * pitch * ratio * t) * decay(t, 0.006, attack=0.0005) for ratio in (1, 0.75)]
    starts = np.arange(0.05 * sample_rate, num, 0.5 * sample_rate)
    place_many(out, grains, starts, np.ones(len(starts)))
    return out


def footsteps(rng: np.random.Generator, num: int, sample_rate: int) -> np.ndarray:
    """Heel and sole on a hard floor at walking pace."""
    out = np.zeros(num)
    t = times(0.16, sample_rate)
    heel = np.sin(glide(110 * (1 + np.exp(-t / 0.01)), sample_rate)) * decay(t, 0.02)
    sole = 0.35 * np.minimum(1, t / 0.05) * band_noise(rng, len(t), 400, 1600, sample_rate) * decay(t, 0.03)
    step = rng.uniform(0.52, 0.62) * sample_rate
    starts = np.arange(0.05 * sample_rate, num, step)
    place_many(out, [heel + sole, 0.85 * heel + 1.2 * sole], starts, rng.uniform(0.85, 1, len(starts)))
    return out


def typing(rng: np.random.Generator, num: int, sample_rate: int) -> np.ndarray:
    """Irregular quick key clicks."""
    out = np.zeros(num)
    t = times(0.03, sample_rate)
    grains = [band_noise(rng, len(t), 2000, 5000, sample_rate) * decay(t, 0.003, attack=0.0005) for _ in range(6)]
    gaps = rng.uniform(0.07, 0.2, int(num / sample_rate / 0.07) + 1)
    starts = np.cumsum(gaps) * sample_rate
    starts = starts[starts < num]
    place_many(out, grains, starts, rng.uniform(0.5, 1, len(starts)))
    return out


def crickets(rng: np.random.Generator, num: int, sample_rate: int) -> np.ndarray:
    """Pulses of a very high tone in groups."""
    t = np.arange(num) / sample_rate
    pulses = np.maximum(0, np.sin(2 * np.pi * 28 * t)) ** 2
    groups = ((t * rng.uniform(1.6, 2.0) + rng.uniform()) % 1) < 0.55
    smooth = filter_band(groups.astype(float), 0, 40, sample_rate)
    return np.sin(2 * np.pi * rng.uniform(4300, 4900) * t) * pulses * smooth


def helicopter(rng: np.random.Generator, num: int, sample_rate: int) -> np.ndarray:
    """Noise beaten by the rotor, over a turbine whine."""
    t = np.arange(num) / sample_rate
    blade = np.exp2(-((rng.uniform(10, 13) * t) % 1) * 5)
    whine = 0.08 * np.sin(2 * np.pi * rng.uniform(1400, 1600) * t)
    return blade * band_noise(rng, num, 50, 700, sample_rate, order=1) + whine


def stream(rng: np.random.Generator, num: int, sample_rate: int) -> np.ndarray:
    """Running water: many rising bubbles over a faint hiss."""
    out = 0.08 * band_noise(rng, num, 400, 3000, sample_rate, order=1)
    t = times(0.06, sample_rate)
    grains = [np.sin(glide(rng.uniform(350, 1400) * (1 + 8 * t), sample_rate)) * decay(t, 0.012) for _ in range(24)]
    count = int(45 * num / sample_rate)
    place_many(out, grains, rng.integers(0, num, count), rng.uniform(0.1, 0.7, count))
    return out


def vacuum(rng: np.random.Generator, num: int, sample_rate: int) -> np.ndarray:
    """A motor's steady hum with a loud, unchanging rush of air."""
    t = np.arange(num) / sample_rate
    levels = (1, 0.6, 0.5, 0.4, 0.3, 0.3)
    hum = partials(t, rng.uniform(190, 230), range(1, 7), levels, sample_rate=sample_rate)
    return hum + 0.5 * band_noise(rng, num, 600, 4000, sample_rate, order=1)


LASTING: dict[str, Lasting] = {
    function.__name__: function
    for function in (
        rain, wind, waves, fire, engine, siren, applause, clock, footsteps, typing, crickets, helicopter, stream,
        vacuum,
    )
}  # fmt: skip
