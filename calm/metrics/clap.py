"""CLAP score: how near a clip is to its caption in the space of a CLAP model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from calm.errors import InputError
from calm.metrics.base import ClipMetric, Column, Rows, Trial, Unscored
from calm.metrics.intervals import Figure, mean
from calm.registry import register
from calm.scorers.clap import Clap
from calm.types import Task

__all__ = ["ClapScore"]


@register("metric", "clap")
class ClapScore(ClipMetric):
    """Cosine of a clip's and its raw caption's CLAP embeddings; needs a CLAP model.

    The embedding of a clip longer than 10 s is the mean of those of its windows, normalised. The figure is the mean of
    the cosines, neither scaled nor cut off at 0.
    """

    tasks = (Task.SOUND, Task.MUSIC)
    needs = ("text",)

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["clap"] = "clap"
        repo: str = "laion/clap-htsat-unfused"
        revision: str | None = None
        folder: str | None = None

    def __init__(self, config: Config | None = None, *, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.config = config or self.Config()
        self._clap = Clap(
            repo=self.config.repo, revision=self.config.revision, folder=self.config.folder, device=device
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column(key="clap", label="CLAP", better="higher"),)

    def measure(self, trial: Trial) -> np.ndarray:
        try:
            caption, windows = self._clap.embed_text(trial.item.text), self._clap.embed(trial.clip)
        except InputError as error:
            raise Unscored(error.what, where=trial.item.id) from error
        heard = windows.mean(axis=0)
        return np.array([caption @ heard / max(float(np.linalg.norm(heard)), 1e-12)])

    def figures(self, rows: Rows) -> dict[str, Figure]:
        return {"clap": mean(rows.values[:, 0])}

    def scores(self, rows: np.ndarray) -> dict[str, float]:
        return {"clap": float(rows[0, 0])}

    def describe(self) -> dict[str, Any]:
        return {**self._clap.describe(), "text": "raw caption, at most 77 tokens", "windows": "mean, normalised"}
