"""Caches of several requests in one pass of the backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from calm.backbone.cache import Cache

__all__ = ["JointCache"]


class JointCache:
    """Caches side by side along B, each of its own length: all but attention is one product for all.

    Attention reads every cache where it lies, at its own length: nothing is copied or padded, and a request may join
    or leave between two passes. Serves as ``cache`` of ``Backbone.forward``, where ``mask`` then is one mask per cache.

    Args:
        num_filling: rows along B behind those of the caches, which attend to nothing and are nobody's.
    """

    def __init__(self, caches: Sequence[Cache], *, num_filling: int = 0) -> None:
        self.caches = tuple(caches)
        self._sizes = [*(cache.batch_size for cache in caches), num_filling]

    def attend(
        self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, mask: Sequence[Tensor | None]
    ) -> Tensor:
        """As ``Cache.attend``: queries [B, H, N, d] of all requests -> [B, H, N, d]."""
        if self._sizes[1:] == [0]:  # one request, no filling: nothing to split or join
            return self.caches[0].attend(layer, queries, keys, values, mask[0])
        *queries, filling = queries.split(self._sizes)
        parts = zip(self.caches, queries, keys.split(self._sizes), values.split(self._sizes), mask, strict=False)
        return torch.cat([*(cache.attend(layer, q, k, v, own) for cache, q, k, v, own in parts), filling])
