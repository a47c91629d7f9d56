"""KAD: kernel audio distance between two sets of embeddings (Chung et al., 2025, arXiv 2502.15602)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from calm.metrics.base import Rows
from calm.metrics.embedded import EmbeddedDistance
from calm.registry import register
from calm.scorers.embedder import EmbeddingConfig

__all__ = ["KernelAudioDistance", "kernel_distance", "median_distance"]

#: factor of the authors' toolkit, kadtk
SCALE = 100.0
#: rows of the reference set, evenly spaced, whose distances give the bandwidth
MAX_BANDWIDTH_ROWS = 5000
BLOCK = 1024


@register("metric", "kad")
class KernelAudioDistance(EmbeddedDistance):
    """Kernel audio distance to a reference set: like FAD, without its bias for small sets.

    100 times the unbiased estimate of the squared maximum mean discrepancy (Gretton et al., 2012, equation 3), see
    `kernel_distance`; 100 is the factor of the authors' toolkit. About 0, and often below it, for two samples of one
    distribution.
    """

    label = "KAD"

    @dataclass(frozen=True, kw_only=True)
    class Config(EmbeddingConfig):
        name: Literal["kad"] = "kad"

    def __init__(self, config: Config | None = None, *, device: torch.device | str = "cpu") -> None:
        super().__init__(config or self.Config(), device=device)

    def linearised(self, rows: Rows, reference: np.ndarray) -> tuple[float, np.ndarray]:
        value, pull = kernel_distance(rows.values, reference)
        clips = np.unique(rows.indices, return_inverse=True)[1]
        sums = np.bincount(clips, pull)
        return value, sums * len(sums) / len(rows)

    def describe(self) -> dict[str, Any]:
        bandwidth = f"median distance of the reference set, of at most {MAX_BANDWIDTH_ROWS} rows"
        return {**super().describe(), "kernel": "gaussian", "bandwidth": bandwidth, "scale": SCALE}


def kernel_distance(rows: np.ndarray, reference: np.ndarray) -> tuple[float, np.ndarray]:
    """The distance of ``rows`` [N, D] to ``reference`` [M, D], and the influence of each row, float64 [N], mean 0.

        100 (mean_(i != j) k(x_i, x_j) + mean_(i != j) k(y_i, y_j) - 2 mean_(i, j) k(x_i, y_j)),
        k(a, b) = exp(-|a - b|^2 / (2 s^2)), s the median distance between different rows of the reference
    """
    bandwidth = median_distance(reference)
    n, m = len(rows), len(reference)
    own = (_kernel_sums(rows, rows, bandwidth) - 1) / (n - 1)  # [N], without the row itself
    across = _kernel_sums(rows, reference, bandwidth) / m
    theirs = (_kernel_sums(reference, reference, bandwidth).sum() - m) / (m * (m - 1))
    pull = 2 * (own - across)
    return SCALE * float(own.mean() + theirs - 2 * across.mean()), SCALE * (pull - pull.mean())


def median_distance(rows: np.ndarray) -> float:
    """Median Euclidean distance between different rows of [M, D]; 1 where all are equal, where any value serves.

    Of more than 5,000 rows, 5,000 that are evenly spaced are taken.
    """
    if len(rows) > MAX_BANDWIDTH_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, MAX_BANDWIDTH_ROWS).round().astype(int)]
    found = torch.pdist(torch.from_numpy(np.ascontiguousarray(rows)).float()).numpy()
    return float(np.median(found)) or 1.0


def _kernel_sums(rows: np.ndarray, others: np.ndarray, bandwidth: float) -> np.ndarray:
    """For each of ``rows`` [N, D] the sum of its kernel with ``others`` [M, D], float64 [N], block by block."""
    # Centring keeps the differences of large squares exact.
    centre = others.mean(axis=0)
    rows, others = rows - centre, others - centre
    squares = np.square(others).sum(axis=1)
    sums = np.empty(len(rows))
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        distances = np.square(block).sum(axis=1)[:, None] + squares - 2 * block @ others.T
        sums[start : start + BLOCK] = np.exp(distances.clip(min=0) / (-2 * bandwidth**2)).sum(axis=1)
    return sums
