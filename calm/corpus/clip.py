"""Records that the generators of the corpus share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calm.types import Task

__all__ = ["SCENE_SHARES", "Clip", "ClipPlan"]

#: how the events of a sound clip follow each other: one event, two in turn, two at once
SCENE_SHARES: Mapping[str, float] = {"single": 0.6, "sequence": 0.25, "overlap": 0.15}


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """What every clip of one corpus shares: seed, sample rate in Hz, ranges of length, and shares of scenes."""

    seed: int
    sample_rate: int
    words: tuple[int, int]
    sound_seconds: tuple[float, float]
    music_seconds: tuple[float, float]
    scene_shares: Mapping[str, float] = field(default_factory=lambda: dict(SCENE_SHARES))


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip: float32 mono ``audio`` [S] in -1..1, transcript or caption, and flat JSON attributes."""

    task: Task
    text: str
    audio: np.ndarray
    attributes: dict[str, Any]
