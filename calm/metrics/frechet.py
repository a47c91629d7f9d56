"""Frechet distance between two sets of embeddings (Heusel et al., 2017; for audio Kilgour et al., 2019).

    d = |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1^(1/2) S2 S1^(1/2))^(1/2))

The last trace comes from the eigenvalues of a symmetric matrix, which needs no general matrix square root. A
distance means something only beside others on the same embedding, with the same counts: it is biased upwards for
small sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calm.errors import InputError

__all__ = ["Gaussian", "frechet_distance"]


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Mean [D], covariance [D, D] and number of the embeddings of a set, float64."""

    mean: np.ndarray
    covariance: np.ndarray
    count: int

    @classmethod
    def of(cls, embeddings: np.ndarray) -> Gaussian:
        """Fit to embeddings [N, D], N >= 2."""
        rows = np.asarray(embeddings, dtype=np.float64)
        if rows.ndim != 2 or len(rows) < 2 or not np.isfinite(rows).all():
            raise InputError(
                f"A set of embeddings has the shape {rows.shape}", where="Gaussian.of", allowed="[N >= 2, D], finite"
            )
        return cls(mean=rows.mean(axis=0), covariance=np.atleast_2d(np.cov(rows, rowvar=False)), count=len(rows))


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Squared Frechet distance of two Gaussians, at least 0."""
    if first.mean.shape != second.mean.shape:
        raise InputError(
            f"The embeddings have {len(first.mean)} and {len(second.mean)} dimensions", where="frechet_distance"
        )
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ second.covariance @ root).clip(min=0)
    apart = np.square(first.mean - second.mean).sum()
    return max(0.0, float(apart + np.trace(first.covariance) + np.trace(second.covariance) - 2 * np.sqrt(mixed).sum()))
