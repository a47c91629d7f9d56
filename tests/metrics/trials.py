"""Trials for tests of metrics, and the real recordings beside this checkout, where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from calm.metrics import Item, Trial
from calm.types import Task, Waveform

REAL = next(
    (folder for up in Path(__file__).resolve().parents[2:5] if (folder := up / "shared" / "real").is_dir()),
    Path(__file__).resolve().parents[2].parent / "shared" / "real",
)
NO_REAL = "the real recordings (../shared/real) are not here"


def trial(clip: Waveform, *, text: str = "", **options: Any) -> Trial:
    return Trial(item=Item(id="one", task=Task.SPEECH, text=text), clip=clip, **options)


def silence(seconds: float, *, sample_rate: int = 16_000) -> Waveform:
    return Waveform(audio=torch.zeros(1, int(seconds * sample_rate)), sample_rate=sample_rate)


def noised(clip: Waveform, *, snr_db: float, seed: int = 0) -> Waveform:
    """The clip with white noise ``snr_db`` below it."""
    noise = torch.randn(clip.audio.shape, generator=torch.Generator().manual_seed(seed))
    scale = float(clip.audio.square().mean().sqrt()) * 10 ** (-snr_db / 20)
    return Waveform(audio=(clip.audio + scale * noise).clamp(-1, 1), sample_rate=clip.sample_rate)
