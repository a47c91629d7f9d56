"""Clips as listeners hear them: one form, one loudness, and nothing that tells where they come from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from calm import audio
from calm.audio.analysis import loudness_lufs
from calm.types import Waveform

__all__ = ["PEAK", "in_form", "loudness", "match_loudness", "spoil", "volume_clip"]

#: largest sample of a prepared clip: 1 dB below full scale
PEAK = 10 ** (-1 / 20)
#: an item is made softer by at most this where a clip's peaks do not leave room
MAX_SOFTER_DB = 10.0
FADE_SECONDS = 0.02


def in_form(clip: Waveform, *, sample_rate: int, channels: int, max_seconds: float) -> Waveform:
    """Return [channels, S] at ``sample_rate`` Hz, cut at ``max_seconds`` with a short fade."""
    clip = audio.resample(audio.to_channels(clip, channels), sample_rate)
    limit = round(max_seconds * sample_rate)
    if clip.audio.shape[-1] <= limit:
        return clip
    samples = clip.audio[..., :limit].clone()
    fade = min(limit, round(FADE_SECONDS * sample_rate))
    samples[..., limit - fade :] *= torch.linspace(1.0, 0.0, fade)
    return Waveform(audio=samples, sample_rate=sample_rate)


def loudness(clip: Waveform) -> float | None:
    """Integrated loudness in LUFS by ITU-R BS.1770-4; None for silence."""
    return loudness_lufs(clip.audio.double().numpy(), clip.sample_rate)


def match_loudness(clips: Sequence[Waveform], *, lufs: float) -> list[Waveform]:
    """Scale the clips of one item to one loudness; no sample passes ``PEAK``, nothing is compressed.

    Where a clip has too high peaks for ``lufs``, all clips of the item become softer alike, by up to 10 dB; a clip
    that needs more is as loud as its peaks allow. Silence stays silence.
    """
    levels = [loudness(clip) for clip in clips]
    room = [
        None if level is None else level + 20 * math.log10(PEAK / float(clip.audio.abs().max()))
        for clip, level in zip(clips, levels, strict=True)
    ]
    least = min((value for value in room if value is not None), default=lufs)
    common = min(lufs, max(least, lufs - MAX_SOFTER_DB))
    return [
        clip if level is None else _gain(clip, min(common, most) - level)
        for clip, level, most in zip(clips, levels, room, strict=True)
    ]


def spoil(clip: Waveform, *, rng: np.random.Generator) -> Waveform:
    """Return the clip as a broken line would play it: half of it missing in short gaps, loud noise over the whole.

    Noise alone would not do: rain with noise is still rain. Gaps are heard as a fault in speech, sound and music.
    """
    samples = clip.audio.clone()
    place, end = 0, samples.shape[-1]
    while place < end:
        kept, gap = (round(seconds * clip.sample_rate) for seconds in rng.uniform(0.06, 0.2, size=2))
        samples[..., place + kept : place + kept + gap] = 0.0
        place += max(1, kept + gap)
    power = float(clip.audio.double().square().mean())
    noise = rng.standard_normal(samples.shape) * math.sqrt(max(power, 1e-6) / 2)
    return Waveform(audio=samples + torch.from_numpy(noise).to(samples), sample_rate=clip.sample_rate)


def volume_clip(*, lufs: float, sample_rate: int = 44_100) -> Waveform:
    """Four soft strokes of a bell, mono, as loud as the clips of the test."""
    time = np.arange(round(1.0 * sample_rate)) / sample_rate
    strokes = []
    for hertz in (392.0, 493.88, 587.33, 783.99):
        partials = ((1.0, 1.0, 3.0), (2.0, 0.35, 4.5), (3.01, 0.12, 7.0))
        tone = sum(share * np.sin(2 * np.pi * hertz * n * time) * np.exp(-decay * time) for n, share, decay in partials)
        strokes.append(tone * np.minimum(1.0, time / 0.008) * np.minimum(1.0, (1.0 - time) / 0.02))
    samples = torch.from_numpy(np.concatenate(strokes)).float()[None]
    return match_loudness([Waveform(audio=samples, sample_rate=sample_rate)], lufs=lufs)[0]


def _gain(clip: Waveform, decibels: float) -> Waveform:
    return Waveform(audio=clip.audio * 10 ** (decibels / 20), sample_rate=clip.sample_rate)
