"""A cache whose tensors keep their shapes from pass to pass: what a compiled pass, or a CUDA graph, needs."""

from __future__ import annotations

import weakref

import torch
import torch.nn.functional as F
from torch import Tensor

from calm.backbone.cache import Cache
from calm.sequence import Rows

__all__ = ["FixedCache"]

#: the capacity is a multiple of it, so that requests of similar lengths share a compiled pass
STEP = 128
#: caches that are left for later requests, at most
NUM_LEFT = 2

#: (shape, capacity, type, device) -> keys, values, place
Left = dict[tuple, tuple[list[Tensor], list[Tensor], Tensor]]


class FixedCache(Cache):
    """Rows attend to the whole buffer, under a mask that hides what is not there: read more, compile once.

    Arguments as for ``Cache``. Only where more rows come than were announced do the buffers grow, and shapes change.

    Args:
        left: tensors of caches that are no longer used. A CUDA graph is replayed only where its tensors lie where they
            lay when it was recorded, so a later request of the same shape takes the same ones.
    """

    def __init__(self, shape: tuple[int, int, int, int], *, capacity: int, left: Left, **more) -> None:
        super().__init__(shape, capacity=0, **more)
        like, num_layers = self.keys[0], shape[0]
        size = (*like.shape[:2], -(-capacity // STEP) * STEP, like.shape[3])
        key = (num_layers, size, like.dtype, like.device)
        kept = left.pop(key, None)
        if kept is None:
            keys, values = ([like.new_zeros(size) for _ in range(num_layers)] for _ in range(2))
            # A number on the device: as a Python number it would be a constant of the compiled pass.
            kept = keys, values, torch.zeros((), dtype=torch.int64, device=like.device)
        self.keys, self.values, self._place = kept
        for tensor in (*self.keys, *self.values, self._place):
            # A mask hides no NaN that an earlier request may have left.
            tensor.zero_()
            # Written to by a pass: a graph must not work on a copy of it.
            torch._dynamo.mark_static_address(tensor, guard=False)
        weakref.finalize(self, _leave, left, key, kept).atexit = False

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        index = self._place + torch.arange(keys.shape[2], device=keys.device)
        return self.keys[layer].index_copy_(2, index, keys), self.values[layer].index_copy_(2, index, values)

    def fit(self, mask: Tensor) -> Tensor:
        return F.pad(mask, (0, self.capacity - mask.shape[2]))

    def reserve(self, count: int) -> None:
        self._reserve(-(-(len(self) + count) // STEP) * STEP)

    def _advance(self, rows: Rows) -> None:
        super()._advance(rows)
        self._place.fill_(len(self))


def _leave(left: Left, key: tuple, kept: tuple[list[Tensor], list[Tensor], Tensor]) -> None:
    has_grown = kept[0][0].shape != key[1]
    if not has_grown:
        left[key] = kept
    while len(left) > NUM_LEFT:
        left.pop(next(iter(left)), None)
