"""UTMOS: how natural speech sounds, predicted without a reference."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from calm.metrics.base import ClipMetric, Column, Rows, Trial
from calm.metrics.checks import check_clip
from calm.metrics.intervals import Figure, mean
from calm.registry import register
from calm.scorers.utmos import SAMPLE_RATE, UTMOS, UTMOS_FILES
from calm.scorers.weights import Weights
from calm.types import Task

__all__ = ["UTMOSMetric"]

MIN_SECONDS = 0.3


@register("metric", "utmos")
class UTMOSMetric(ClipMetric):
    """UTMOS22 strong, 1 to 5, by the checkpoint of SpeechMOS; clips of at least 0.3 s.

    ``folder`` holds ``utmos22_strong_step7459_v1.pt`` itself, as SpeechMOS's releases offer it.
    """

    tasks = (Task.SPEECH,)

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["utmos"] = "utmos"
        repo: str = "k2-fsa/TTS_eval_models"
        #: a folder with the checkpoint, instead of the hub
        folder: str | None = None
        revision: str | None = None

    def __init__(self, config: Config | None = None, *, device: str = "cpu") -> None:
        super().__init__(width=1)
        self.config = config = config or self.Config()
        self._weights = Weights(config.repo, files=UTMOS_FILES, folder=config.folder, revision=config.revision)
        self._model_device = device

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column(key="utmos", label="UTMOS", better="higher", digits=2),)

    @cached_property
    def _scorer(self) -> UTMOS:
        return UTMOS(self._weights.path(UTMOS_FILES[0])).to(self._model_device)

    def measure(self, trial: Trial) -> np.ndarray:
        check_clip(trial.clip, where=trial.item.id, min_seconds=MIN_SECONDS)
        return np.array([self._scorer.score(trial.clip)])

    def figures(self, rows: Rows) -> dict[str, Figure]:
        return {"utmos": mean(rows.values[:, 0])}

    def scores(self, rows: np.ndarray) -> dict[str, float]:
        return {"utmos": float(rows[0, 0])}

    def describe(self) -> dict[str, Any]:
        return {
            "scorer": "UTMOS22 strong, without phonemes",
            "version": f"transformers {importlib.metadata.version('transformers')}",
            "weights": self._weights.record,
            "sample_rate": SAMPLE_RATE,
            "resampling": "soxr HQ",
            "min_seconds": MIN_SECONDS,
        }
