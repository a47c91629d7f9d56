"""Whose voice it is: cosine of embeddings of a clip and of its reference clip; what all ``sim`` metrics share."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from torch import Tensor

from calm.metrics.base import ClipMetric, Column, Rows, Trial
from calm.metrics.checks import check_clip, require
from calm.metrics.intervals import Figure, mean
from calm.types import Task, Waveform

__all__ = ["SpeakerSimilarity"]

#: x-vectors need 16 frames, 0.33 s; in less nobody knows a voice
MIN_SECONDS = 0.4


class SpeakerSimilarity(ClipMetric):
    """Mean cosine, -1 to 1, over clips of at least 0.4 s. A subclass embeds, and names its ``key`` and ``label``.

    The reference is the recording itself, not a codec's copy of it: "SIM-o" in papers.
    """

    tasks = (Task.SPEECH,)
    needs = ("reference",)
    key: ClassVar[str]
    label: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(width=1)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column(key=self.key, label=self.label, better="higher"),)

    @abstractmethod
    def embed(self, clip: Waveform) -> Tensor:
        """A unit vector [D] of a clip of any rate and channels."""

    def measure(self, trial: Trial) -> np.ndarray:
        reference = require(trial, "reference")
        check_clip(trial.clip, where=trial.item.id, min_seconds=MIN_SECONDS)
        check_clip(reference, where=trial.item.id, min_seconds=MIN_SECONDS, what="reference clip")
        return np.array([float(self.embed(trial.clip).double() @ self.embed(reference).double())])

    def figures(self, rows: Rows) -> dict[str, Figure]:
        return {self.key: mean(rows.values[:, 0])}

    def scores(self, rows: np.ndarray) -> dict[str, float]:
        return {self.key: float(rows[0, 0])}
