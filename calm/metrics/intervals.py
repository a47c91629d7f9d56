"""Figures with their uncertainty: bootstrap over items (Efron, 1979) and Wilson's interval of a rate (1927)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from calm.errors import InputError

__all__ = ["Figure", "mean", "median", "rate", "rate_ratio", "ratio_of_sums"]

NUM_RESAMPLES = 2000
#: two-sided 95 % quantile of the normal distribution
_Z = 1.959964


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A value with its 95 % interval and the number of items that it rests on."""

    value: float
    low: float
    high: float
    count: int


def mean(values: Sequence[float], *, seed: int = 0) -> Figure:
    """Mean of one value per item; interval by the bootstrap over items."""
    return _bootstrap(lambda rows: rows[..., 0].mean(axis=-1), _columns(values), seed=seed)


def median(values: Sequence[float], *, seed: int = 0) -> Figure:
    """Median of one value per item; interval by the bootstrap over items."""
    return _bootstrap(lambda rows: np.median(rows[..., 0], axis=-1), _columns(values), seed=seed)


def ratio_of_sums(parts: Sequence[float], wholes: Sequence[float], *, seed: int = 0) -> Figure:
    """sum(parts) / sum(wholes) over items, for example errors / words.

    With ``parts`` a difference of errors of two systems on the same items, this is the paired difference of
    their rates: an item is drawn with both of its results.
    """
    rows = _columns(parts, wholes)
    return _bootstrap(lambda r: r[..., 0].sum(axis=-1) / np.maximum(r[..., 1].sum(axis=-1), 1e-12), rows, seed=seed)


def rate_ratio(ours: Sequence[bool], originals: Sequence[bool], *, seed: int = 0) -> Figure:
    """Rate of ``ours`` divided by the rate of ``originals`` on the same items, paired."""
    return ratio_of_sums([float(x) for x in ours], [float(x) for x in originals], seed=seed)


def rate(hits: Sequence[bool]) -> Figure:
    """Share of hits with Wilson's score interval."""
    count = len(hits)
    if count == 0:
        raise InputError("A rate needs at least one item", where="rate")
    share = sum(map(bool, hits)) / count
    scale = 1 + _Z**2 / count
    centre = (share + _Z**2 / (2 * count)) / scale
    half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / scale
    return Figure(value=share, low=max(0.0, centre - half), high=min(1.0, centre + half), count=count)


def _columns(*columns: Sequence[float]) -> np.ndarray:
    rows = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=-1)
    if len(rows) == 0 or not np.isfinite(rows).all():
        raise InputError("A figure needs at least one item, and finite values only", where="calm.metrics.intervals")
    return rows


def _bootstrap(statistic: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, *, seed: int) -> Figure:
    rng = np.random.default_rng(seed)
    draws = [statistic(rows[rng.integers(len(rows), size=(50, len(rows)))]) for _ in range(NUM_RESAMPLES // 50)]
    low, high = np.quantile(np.concatenate(draws), [0.025, 0.975])
    return Figure(value=float(statistic(rows)), low=float(low), high=float(high), count=len(rows))
