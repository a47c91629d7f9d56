"""Records that the generators of the corpus share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from calm.types import Task

__all__ = ["Clip", "ClipPlan"]


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """What every clip of one corpus shares: seed, sample rate in Hz, and ranges of length."""

    seed: int
    sample_rate: int
    words: tuple[int, int]
    sound_seconds: tuple[float, float]
    music_seconds: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip: float32 mono ``audio`` [S] in -1..1, transcript or caption, and flat JSON attributes."""

    task: Task
    text: str
    audio: np.ndarray
    attributes: dict[str, Any]
