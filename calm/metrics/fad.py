"""FAD: Frechet distance between Gaussians fitted to two sets of embeddings (Kilgour et al., 2019, arXiv 1812.08466)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from calm.metrics.base import Rows
from calm.metrics.embedded import EmbeddedDistance
from calm.metrics.frechet import Gaussian, frechet_distance
from calm.registry import register
from calm.scorers.embedder import EmbeddingConfig

__all__ = ["FrechetAudioDistance", "frechet_influences"]


@register("metric", "fad")
class FrechetAudioDistance(EmbeddedDistance):
    """Frechet audio distance to a reference set, by motion, mel statistics, VGGish, PANNs or CLAP.

    d = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of the means m and covariances S of all windows. It is biased upwards
    for small sets, more so in more dimensions: compare only what has the same embedding, reference set, number of
    clips and length. The interval is that of the figure with this number of clips, its bias included.
    """

    label = "FAD"

    @dataclass(frozen=True, kw_only=True)
    class Config(EmbeddingConfig):
        name: Literal["fad"] = "fad"

    def __init__(self, config: Config | None = None, *, device: torch.device | str = "cpu") -> None:
        super().__init__(config or self.Config(), device=device)

    def linearised(self, rows: Rows, reference: np.ndarray) -> tuple[float, np.ndarray]:
        first, second = Gaussian.of(rows.values), Gaussian.of(reference)
        return frechet_distance(first, second), frechet_influences(rows, first=first, second=second)


def frechet_influences(rows: Rows, *, first: Gaussian, second: Gaussian) -> np.ndarray:
    """By how much each clip draws the distance of its set (``first``) to ``second``, float64 [clips], mean 0.

    The gradients are 2 (m1 - m2) for the mean and 1 - T for the covariance, where T = R^-1 (R S2 R)^(1/2) R^-1 with
    R = S1^(1/2) is the optimal transport from the first to the second (Olkin & Pukelsheim, 1982). Where there are
    fewer rows than dimensions, the inverse is taken among the directions that the rows span.
    """
    values, vectors = np.linalg.eigh(first.covariance)
    spanned = values > values.max() * 1e-10
    values, vectors = values[spanned], vectors[:, spanned]
    root = np.sqrt(values)
    mixed, turn = np.linalg.eigh(root[:, None] * (vectors.T @ second.covariance @ vectors) * root)
    apart = (rows.values - first.mean) @ vectors  # [R, spanned]
    carried = (apart / root) @ turn * np.sqrt(np.sqrt(mixed.clip(min=0)))
    pull = 2 * (rows.values - first.mean) @ (first.mean - second.mean)
    pull += np.square(apart).sum(axis=1) - np.square(carried).sum(axis=1)
    clips = np.unique(rows.indices, return_inverse=True)[1]
    sums = np.bincount(clips, pull - pull.mean())
    return sums * len(sums) / len(rows)
