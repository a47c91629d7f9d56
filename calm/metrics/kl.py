"""KL divergence between the classes that a tagger hears in an original and in a clip made for its caption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from calm.errors import InputError
from calm.metrics.base import ClipMetric, Column, Rows, Trial, Unscored
from calm.metrics.intervals import Figure, mean
from calm.registry import register
from calm.scorers.panns import Panns
from calm.types import Task

__all__ = ["PosteriorDivergence", "divergence", "sigmoid", "softmax"]

EPSILON = 1e-6


@register("metric", "kl")
class PosteriorDivergence(ClipMetric):
    """KL divergence of PANNs' class posteriors, original from clip; needs its weights.

    As audioldm_eval computes it: sum_c p_c (log p_c - log(q_c + 1e-6)) over the 527 classes of AudioSet, p of the
    original recording, q of the clip, mean over clips. ``kl`` takes the softmax of the logits (the convention of
    AudioGen, and what papers mean), ``kl_sigmoid`` their sigmoids, which are no distribution: it can be negative.
    """

    tasks = (Task.SOUND, Task.MUSIC)
    needs = ("target",)

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["kl"] = "kl"
        repo: str | None = None
        revision: str | None = None
        folder: str | None = None

    def __init__(self, config: Config | None = None, *, device: torch.device | str = "cpu") -> None:
        super().__init__(width=2)
        self.config = config or self.Config()
        self._tagger = Panns(
            repo=self.config.repo, revision=self.config.revision, folder=self.config.folder, device=device
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        return (
            Column(key="kl", label="KL", better="lower"),
            Column(key="kl_sigmoid", label="KL, sigmoid", better="lower"),
        )

    def measure(self, trial: Trial) -> np.ndarray:
        if trial.target is None:
            raise Unscored("The item has no original to compare with", where=trial.item.id)
        try:
            original, clip = self._tagger.classify(trial.target), self._tagger.classify(trial.clip)
        except InputError as error:
            raise Unscored(error.what, where=trial.item.id) from error
        return np.array([divergence(softmax(original), softmax(clip)), divergence(sigmoid(original), sigmoid(clip))])

    def figures(self, rows: Rows) -> dict[str, Figure]:
        return {column.key: mean(values) for column, values in zip(self.columns, rows.values.T, strict=True)}

    def scores(self, rows: np.ndarray) -> dict[str, float]:
        return {column.key: float(value) for column, value in zip(self.columns, rows[0], strict=True)}

    def describe(self) -> dict[str, Any]:
        return {**self._tagger.describe(), "classes": 527, "epsilon": EPSILON, "direction": "original from clip"}


def divergence(original: np.ndarray, clip: np.ndarray) -> float:
    """sum p (log p - log(q + 1e-6)) of posteriors p of the original and q of the clip, both [classes]."""
    seen = original > 0
    return float((original[seen] * (np.log(original[seen]) - np.log(clip[seen] + EPSILON))).sum())


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max())
    return raised / raised.sum()


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * logits))
