"""A cache whose attention is one call: rows are written, read and attended to without Python in between."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from calm.backbone.cache import Cache
from calm.scripted import Scripted

__all__ = ["ScriptedCache"]


class ScriptedCache(Cache):
    """Arguments and results of ``Cache``, for inference with masks in memory."""

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        self._reserve(self._length + keys.shape[2])
        return _scripted()(queries, keys, values, self.keys[layer], self.values[layer], self._length, mask)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor, start: int, mask: torch.Tensor | None
) -> Tensor:
    """Write k and v from row ``start`` on, and let q attend to all rows up to theirs."""
    count = k.shape[2]
    keys.narrow(2, start, count).copy_(k)
    values.narrow(2, start, count).copy_(v)
    keys, values = keys.narrow(2, 0, start + count), values.narrow(2, 0, start + count)
    mask = None if mask is None else mask.unsqueeze(1)
    return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, enable_gqa=q.shape[1] != k.shape[1])


@functools.cache
def _scripted() -> Callable[..., Tensor]:
    return Scripted(_attend)
