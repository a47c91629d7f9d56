"""Mean of crossed ratings: listeners and items are both a sample, so both are drawn again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calm.metrics import Figure

__all__ = ["crossed_mean"]

NUM_RESAMPLES = 2000


def crossed_mean(
    scores: Sequence[float], *, listeners: Sequence[int], items: Sequence[str], seed: int = 0, num_resamples: int = 0
) -> Figure:
    """Mean of ratings with its 95 % interval; ``count`` is the number of ratings. NaN interval for a lone listener or item.

    A listener is mild or harsh in all ratings, an item good or bad for all listeners: ratings are not independent, and
    a bootstrap over ratings, or over listeners alone, is too narrow. Each resample weighs every listener and every item
    by an exponential variate of mean 1; a rating has the product of its two weights (Owen and Eckles, 2012,
    "Bootstrapping data arrays of arbitrary order"; with counts instead, Owen, 2007, "The pigeonhole bootstrap").
    It errs to the wide side, by up to a factor of sqrt(3) where neither listeners nor items differ.
    """
    values = np.asarray(scores, dtype=np.float64)
    of_listener, of_item = (np.unique(np.asarray(labels), return_inverse=True)[1] for labels in (listeners, items))
    num_listeners, num_items = of_listener.max() + 1, of_item.max() + 1
    if min(num_listeners, num_items) < 2:
        return Figure(value=float(values.mean()), low=float("nan"), high=float("nan"), count=len(values))
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(num_resamples or NUM_RESAMPLES):
        weights = rng.exponential(size=num_listeners)[of_listener] * rng.exponential(size=num_items)[of_item]
        means.append(weights @ values / weights.sum())
    low, high = np.quantile(means, [0.025, 0.975])
    return Figure(value=float(values.mean()), low=float(low), high=float(high), count=len(values))
