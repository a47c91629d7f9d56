"""What is done to recordings to make them worse in a known order: a lossy codec, white noise, a wrong text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import soundfile
import torch

from calm.audio import resample, to_channels
from calm.evaluation.manifest import ManifestItem
from calm.types import Waveform

__all__ = ["mp3", "noised", "shuffled"]

CODEC_RATE = 16_000
#: libsndfile's scale for MPEG-2 Layer III: 0 is 160 kbit/s, 1 is 8 kbit/s, a straight line between
KILOBITS = 16
LEVEL = (160 - KILOBITS) / (160 - 8)
#: samples by which LAME (576) and a decoder (529) are late; at this rate no header says so
DELAY = 1105


def noised(clip: Waveform, *, snr: float, seed: int) -> Waveform:
    """White noise ``snr`` decibels below the clip's own level."""
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal(tuple(clip.audio.shape))).float()
    level = clip.audio.square().mean().sqrt() * 10 ** (-snr / 20)
    return replace(clip, audio=(clip.audio + level * noise).clamp(-1, 1))


def mp3(clip: Waveform) -> Waveform:
    """The clip in mono at 16 kHz through LAME at a constant 16 kbit/s, in step with the clip and as long."""
    samples = to_channels(resample(clip, CODEC_RATE), 1).audio[0].numpy()
    file = io.BytesIO()
    form = {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": LEVEL, "bitrate_mode": "CONSTANT"}
    soundfile.write(file, samples, CODEC_RATE, **form)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    decoded = np.pad(decoded[DELAY:], (0, len(samples)))[: len(samples)]
    return Waveform(audio=torch.from_numpy(decoded)[None].clamp(-1, 1), sample_rate=CODEC_RATE)


def shuffled(entries: Sequence[ManifestItem], seed: int) -> list[ManifestItem]:
    """Every clip with the text of another: the next one, in a random circle, whose text differs."""
    order = np.random.default_rng(seed).permutation(len(entries))
    texts = [entries[number].item.text for number in order]
    found: dict[int, str] = {}
    for place, number in enumerate(order):
        circle = texts[place + 1 :] + texts[:place]
        found[int(number)] = next(text for text in circle if text != texts[place])
    return [replace(entry, item=replace(entry.item, text=found[number])) for number, entry in enumerate(entries)]
