"""What distances between sets of embeddings share: rows of windows, and an interval over clips.

The interval answers: what might the figure have been with as many other clips of the same system, against the same
reference set? It is a bootstrap over clips, all windows of a clip together, of the figure's linear part: the figure
moves by the mean of the influences of the clips that are drawn (Hampel, 1974; Efron, 1982, "infinitesimal jackknife").

Resampling the figure itself does not serve here. A sample drawn with replacement has fewer different clips, so that
its distance is larger (by several times the spread, where there are few clips for the dimensions) and also spreads
more. The linear part has no such bias. The quantiles are reflected about the figure (basic bootstrap).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch

from calm.errors import InputError
from calm.metrics.base import Column, Rows, SetMetric, Trial, Unscored
from calm.metrics.intervals import NUM_RESAMPLES, Figure
from calm.scorers.embedder import EmbeddingConfig
from calm.scorers.embeddings import load_embedder

__all__ = ["EmbeddedDistance", "interval"]


class EmbeddedDistance(SetMetric):
    """A distance between the windows of a system's clips and those of a reference set.

    The key of its figure is the metric's name for the default embedding, else with the embedding, ``fad_vggish``.
    Loading the embedding in the constructor makes missing weights known before hours of generation.
    """

    #: what tables call it
    label: str

    def __init__(self, config: Any, *, device: torch.device | str = "cpu") -> None:
        self.embedder = load_embedder(config, device=device)
        super().__init__(width=self.embedder.width)
        self.config = config
        default = config.embedding == EmbeddingConfig.embedding
        self.key = config.name if default else f"{config.name}_{config.embedding}"

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column(key=self.key, label=f"{self.label} ({self.config.embedding})", better="lower"),)

    def measure(self, trial: Trial) -> np.ndarray:
        try:
            return self.embedder.embed(trial.clip)
        except InputError as error:
            raise Unscored(error.what, where=trial.item.id) from error

    def distance(self, rows: Rows, reference: Rows) -> dict[str, Figure]:
        value, influences = self.linearised(rows, reference.values)
        return {self.key: interval(value, influences)}

    @abstractmethod
    def linearised(self, rows: Rows, reference: np.ndarray) -> tuple[float, np.ndarray]:
        """The distance, and the influence of each clip on it, float64 [clips], mean 0."""

    def describe(self) -> dict[str, Any]:
        return {**self.embedder.describe(), "interval": "bootstrap over clips of the linearised figure"}


def interval(value: float, influences: np.ndarray, *, seed: int = 0) -> Figure:
    """A figure whose interval is that of the mean of ``influences`` [clips], reflected; one clip has no spread."""
    rng = np.random.default_rng(seed)
    count = len(influences)
    draws = [influences[rng.integers(count, size=(50, count))].mean(axis=1) for _ in range(NUM_RESAMPLES // 50)]
    low, high = value - np.quantile(np.concatenate(draws), [0.975, 0.025])
    return Figure(value=value, low=float(low), high=float(high), count=count)
