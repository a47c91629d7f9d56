"""Measures of signals whose pitch, noise, room and level are known."""

from __future__ import annotations

import numpy as np
import pytest

from calm.audio.analysis import loudness_lufs, median_pitch, reverberation_seconds, signal_to_noise

RATE = 16000


def bursts(*, seed: int = 0, sample_rate: int = RATE, seconds: float = 8.0, hertz: float = 130.0) -> np.ndarray:
    """Harmonic bursts of 0.15 to 0.35 s at several levels, with pauses of 0.05 to 0.7 s, as in speech; [S]."""
    rng, pieces = np.random.default_rng(seed), []
    while sum(map(len, pieces)) < seconds * sample_rate:
        time = np.arange(int(rng.uniform(0.15, 0.35) * sample_rate)) / sample_rate
        buzz = sum(np.sin(2 * np.pi * hertz * (1 + 0.02 * time) * k * time + k) / k for k in range(1, 21))
        fade = np.minimum(1, np.minimum(time, time[::-1]) / 0.02)
        pieces += [0.2 * rng.uniform(0.3, 1) * buzz * fade, np.zeros(int(rng.choice([0.05, 0.1, 0.4, 0.7]) * sample_rate))]
    return np.concatenate(pieces)


def in_room(dry: np.ndarray, t60: float, *, seed: int = 0, sample_rate: int = RATE) -> np.ndarray:
    """Convolve with noise that decays by 60 dB in ``t60`` seconds."""
    time = np.arange(int(1.2 * t60 * sample_rate)) / sample_rate
    room = np.random.default_rng(seed + 100).standard_normal(len(time)) * 10 ** (-3 * time / t60)
    size = len(dry) + len(room)
    wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(room / np.linalg.norm(room), size), size)
    return wet[: len(dry)]


def noisy(clean: np.ndarray, snr_db: float) -> np.ndarray:
    """Add white noise ``snr_db`` below the mean power of what sounds."""
    power = np.mean(clean[np.abs(clean) > 1e-6] ** 2)
    return clean + np.random.default_rng(1).standard_normal(len(clean)) * np.sqrt(power / 10 ** (snr_db / 10))


@pytest.mark.parametrize("hertz", [85.0, 130.0, 220.0])
def test_pitch_is_within_five_percent_in_noise_and_in_a_room(hertz):
    voice = noisy(in_room(bursts(hertz=hertz, seconds=4), 0.3), 20)
    assert median_pitch(voice, RATE) == pytest.approx(hertz, rel=0.05)


@pytest.mark.parametrize("sample_rate", [RATE, 44100])
@pytest.mark.parametrize("snr_db", [5, 10, 20, 30, 40])
def test_signal_to_noise_is_within_two_and_a_half_decibels(snr_db, sample_rate):
    assert signal_to_noise(noisy(bursts(sample_rate=sample_rate), snr_db), sample_rate) == pytest.approx(snr_db, abs=2.5)


def test_signal_to_noise_does_not_depend_on_the_gain_and_needs_a_pause():
    voice = noisy(bursts(), 20)
    assert signal_to_noise(0.1 * voice, RATE) == pytest.approx(signal_to_noise(voice, RATE), abs=0.05)
    time = np.arange(4 * RATE) / RATE
    swelling = np.sin(2 * np.pi * 200 * time) * (1.2 + np.sin(2 * np.pi * 2 * time))
    assert signal_to_noise(swelling, RATE) is None


@pytest.mark.parametrize("t60", [0.2, 0.5, 1.0])
def test_reverberation_is_within_fifteen_percent_in_the_median_and_half_for_a_clip(t60):
    found = [reverberation_seconds(in_room(bursts(seed=seed), t60, seed=seed), RATE) for seed in range(7)]
    assert np.median(found) == pytest.approx(t60, rel=0.15)
    assert found == pytest.approx([t60] * len(found), rel=0.5)


def test_reverberation_grows_with_the_room_and_noise_hardly_changes_it():
    rooms = [reverberation_seconds(noisy(in_room(bursts(), t60) if t60 else bursts(), 30), RATE) for t60 in (0, 0.3, 0.6, 1.2)]
    assert rooms == sorted(rooms) and rooms[0] < 0.15
    assert rooms[2] == pytest.approx(0.6, rel=0.2)


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100, 48000, 96000])
def test_a_full_scale_sine_of_997_hz_has_minus_3_01_lufs_at_every_rate(sample_rate):
    """The calibration of ITU-R BS.1770-4, annex 1."""
    sine = np.sin(2 * np.pi * 997 * np.arange(2 * sample_rate) / sample_rate)
    assert loudness_lufs(sine[None], sample_rate) == pytest.approx(-3.01, abs=0.02)
    assert loudness_lufs(0.1 * np.stack([sine, sine]), sample_rate) == pytest.approx(-20.0, abs=0.02)


def test_loudness_weighs_the_low_less_and_does_not_count_pauses():
    time = np.arange(4 * 48000) / 48000
    low, middle = (loudness_lufs(np.sin(2 * np.pi * hertz * time)[None], 48000) for hertz in (30, 1000))
    assert low < middle - 6
    half = np.sin(2 * np.pi * 1000 * time) * (time < 2)
    assert loudness_lufs(half[None], 48000) == pytest.approx(middle, abs=0.7)


@pytest.mark.parametrize("samples", [0, 1, 200, 20000])
def test_silence_and_scraps_are_measured_as_nothing(samples):
    silence = np.zeros(samples)
    assert median_pitch(silence, RATE) is None and reverberation_seconds(silence, RATE) is None
    assert signal_to_noise(silence, RATE) is None and loudness_lufs(silence[None], RATE) is None
