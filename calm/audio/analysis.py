"""What can be measured of a clip without a model: pitch, signal-to-noise ratio, reverberation, loudness.

Each measure is None where the clip does not show it, rather than a guess. ``mono`` is a float array [S].
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

__all__ = ["active_frames", "loudness_lufs", "median_pitch", "reverberation_seconds", "signal_to_noise"]

FRAME_SECONDS, HOP_SECONDS = 0.04, 0.02
MIN_HERTZ, MAX_HERTZ = 60.0, 400.0
#: frames up to this far below the loud ones are speech
ACTIVE_DB = 25.0

DECAY_FRAME_SECONDS, DECAY_HOP_SECONDS = 0.08, 0.005
#: a decay is measured from this far below its peak, over at least MIN_FALL_DB, to this far above its end and the noise
SKIPPED_DB, MIN_FALL_DB, ABOVE_END_DB = 5.0, 6.0, 3.0
#: rises up to this are ripple of the decay, not its end
RIPPLE_DB = 4.0
MIN_DECAYS = 4

#: ITU-R BS.1770-4, tables 1 and 2: the K-weighting's two stages at 48 kHz, (numerator, denominator)
K_WEIGHTING = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
K_RATE = 48000
BLOCK_SECONDS, STEP_SECONDS = 0.4, 0.1
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0


def active_frames(mono: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which frames of 40 ms, 20 ms apart, are within 25 dB of the loud ones, bool [N], and all levels in dB [N]."""
    level = _levels(mono, sample_rate, FRAME_SECONDS, HOP_SECONDS)
    return level > np.percentile(level, 95) - ACTIVE_DB, level


def median_pitch(mono: np.ndarray, sample_rate: int) -> float | None:
    """Median pitch in Hz (60 to 400) of the voiced frames; None with fewer than five.

    The first strong peak of each frame's normalised autocorrelation (Boersma, 1993, "Accurate short-term analysis
    of the fundamental frequency ...").
    """
    if len(mono) < FRAME_SECONDS * sample_rate:
        return None
    frames = _frames(mono, sample_rate, FRAME_SECONDS, HOP_SECONDS)[active_frames(mono, sample_rate)[0]]
    size = 2 ** math.ceil(math.log2(2 * frames.shape[1]))
    window = np.hanning(frames.shape[1])
    spectrum = np.abs(np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * window, size)) ** 2
    spectrum[:, np.fft.rfftfreq(size, 1 / sample_rate) > 1000.0] = 0.0
    correlation = np.fft.irfft(spectrum)
    shape = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2)
    shortest, longest = int(sample_rate / MAX_HERTZ), int(sample_rate / MIN_HERTZ)
    lags = slice(shortest, min(longest, frames.shape[1] - 1) + 1)
    energy = np.maximum(correlation[:, :1], 1e-12)
    strength = correlation[:, lags] / energy / (shape[lags] / shape[0])
    best = strength.max(axis=1)
    inner = (strength[:, 1:-1] >= strength[:, :-2]) & (strength[:, 1:-1] >= strength[:, 2:])
    strong = inner & (strength[:, 1:-1] > 0.9 * best[:, None])
    voiced = (best > 0.6) & strong.any(axis=1)
    if voiced.sum() < 5:
        return None
    # The first strong peak, not the highest, or every second voice is heard an octave too low.
    lag = shortest + 1 + strong.argmax(axis=1)[voiced]
    return float(np.median(sample_rate / lag))


def signal_to_noise(mono: np.ndarray, sample_rate: int) -> float | None:
    """Ratio of speech to noise in dB, from the levels of frames; None without a pause in which noise is alone.

    The noise is the frame power at the 10th percentile; the signal is the mean power of the frames above the middle
    between the quiet and the loud (95th percentile), less the noise. A percentile method, as NIST's STNR is one.
    Noise is taken to be steady.
    """
    if len(mono) < FRAME_SECONDS * sample_rate:
        return None
    active, level = active_frames(mono, sample_rate)
    lowest, quiet, low, loud = np.percentile(level, [3, 10, 20, 95])
    # Without a pause the quietest frames are soft speech and say nothing about noise; a pause is far
    # below the speech, or, in loud noise, steady.
    if np.mean(~active) <= 0.05 and low - lowest >= 3.0:
        return None
    power, noise = 10 ** (level / 10), 10 ** (quiet / 10)
    speech = power[level >= (quiet + loud) / 2].mean() - noise
    return float(10 * np.log10(speech / noise)) if speech > 0 else None


def reverberation_seconds(mono: np.ndarray, sample_rate: int) -> float | None:
    """Estimate the reverberation time T60 in seconds; None with fewer than four decays.

    Every fall of the level (frames of 80 ms) by some 14 dB gives a decay rate. Sound cannot die faster than the room
    lets it, while it may die more slowly because the source does: the room's rate is near the fast end of the
    distribution (after Wen, Habets and Naylor, 2008, "Blind estimation of reverberation time based on the
    distribution of signal decay rates"), here the quartile of the shortest times. A rough measure: for
    bursts in rooms of 0.2 to 1 s the median of several clips is within 15 %, a single one within 50 %. In a dry room
    the voice's own decays are found, 0.1 to 0.3 s.
    """
    if len(mono) < 10 * DECAY_FRAME_SECONDS * sample_rate:
        return None
    level = _levels(mono, sample_rate, DECAY_FRAME_SECONDS, DECAY_HOP_SECONDS)
    noise = float(np.percentile(level, 5))
    times = []
    for peak, end in _falls(level):
        fall = level[peak : end + 1]
        # Peak and end are the extremes of a rippled line: between them the line is too steep.
        used = np.flatnonzero((fall < fall[0] - SKIPPED_DB) & (fall > max(fall[-1], noise) + ABOVE_END_DB))
        if len(used) >= 4 and fall[used[0]] - fall[used[-1]] >= MIN_FALL_DB:
            times.append(-60.0 / np.polyfit(used * DECAY_HOP_SECONDS, fall[used], 1)[0])
    return float(np.percentile(times, 25)) if len(times) >= MIN_DECAYS else None


def loudness_lufs(audio: np.ndarray, sample_rate: int) -> float | None:
    """Integrated loudness of ``audio`` [A, S] in LUFS by ITU-R BS.1770-4, for one or two channels; None for silence.

    K-weighting, blocks of 0.4 s every 0.1 s, gates at -70 LUFS and 10 LU below the mean. The recommendation's filters
    are applied as their response at 48 kHz over frequency, so that any rate is measured alike. A clip shorter than a
    block is one block.
    """
    num_samples = audio.shape[-1]
    if num_samples == 0:
        return None
    # A second of zeros for the high-pass to ring out in, so that the end does not come round to the start.
    size = num_samples + sample_rate
    spectrum = np.fft.rfft(audio, size) * _k_response(np.fft.rfftfreq(size, 1 / sample_rate))
    power = np.square(np.fft.irfft(spectrum, size)[..., :num_samples]).sum(axis=0)
    sums = np.concatenate([[0.0], np.cumsum(power)])
    block, step = min(num_samples, round(BLOCK_SECONDS * sample_rate)), max(1, round(STEP_SECONDS * sample_rate))
    starts = np.arange(0, num_samples - block + 1, step)
    power = np.maximum(sums[starts + block] - sums[starts], 0.0) / block
    power = power[power > _power(ABSOLUTE_GATE)]
    if not len(power):
        return None
    power = power[power > power.mean() * 10 ** (RELATIVE_GATE / 10)]
    return float(-0.691 + 10 * np.log10(power.mean()))


def _power(lufs: float) -> float:
    return 10 ** ((lufs + 0.691) / 10)


def _k_response(hertz: np.ndarray) -> np.ndarray:
    z = np.exp(-2j * np.pi * np.minimum(hertz, K_RATE / 2) / K_RATE)
    response = np.ones_like(z)
    for above, below in K_WEIGHTING:
        response = response * np.polyval(above[::-1], z) / np.polyval(below[::-1], z)
    return response


def _frames(mono: np.ndarray, sample_rate: int, frame_seconds: float, hop_seconds: float) -> np.ndarray:
    """Return [N, samples of one frame]."""
    frame, hop = int(frame_seconds * sample_rate), max(1, int(hop_seconds * sample_rate))
    return np.lib.stride_tricks.sliding_window_view(mono, frame)[::hop]


def _levels(mono: np.ndarray, sample_rate: int, frame_seconds: float, hop_seconds: float) -> np.ndarray:
    frames = _frames(mono, sample_rate, frame_seconds, hop_seconds)
    return 10 * np.log10(np.mean(np.square(frames), axis=1) + 1e-9)


def _falls(level: np.ndarray) -> list[tuple[int, int]]:
    """Return (peak, end) of every stretch in which the level falls, but for ripple."""
    corners = [0]  # alternately highest and lowest points that are RIPPLE_DB apart
    rising = True
    for i, value in enumerate(level):
        last = level[corners[-1]]
        if value > last if rising else value < last:
            corners[-1] = i
        elif abs(value - last) > RIPPLE_DB:
            corners.append(i)
            rising = not rising
    return list(pairwise(corners))[::2]
