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
#: keys and values of the last cache that is no longer used: a CUDA graph is replayed only where its tensors lie where
#: they lay when it was recorded, so the next request takes the same ones
_LEFT: list[tuple[list[Tensor], list[Tensor], Tensor]] = []


class FixedCache(Cache):
    """Rows attend to the whole buffer, under a mask that hides what is not there: read more, compile once.

    Arguments as for ``Cache``. Only where more rows come than were announced do the buffers grow, and shapes change.
    """

    def __init__(self, shape: tuple[int, int, int, int], *, capacity: int, **more) -> None:
        super().__init__(shape, capacity=-(-capacity // STEP) * STEP, **more)
        # A number on the device: as a Python number it would be a constant of the compiled pass.
        self._place = torch.zeros((), dtype=torch.int64, device=self.keys[0].device)
        self._take_over()
        for tensor in (*self.keys, *self.values, self._place):
            # Written to by a pass: a graph must not work on a copy of it.
            torch._dynamo.mark_static_address(tensor, guard=False)
        weakref.finalize(self, _leave, self.keys, self.values, self._place).atexit = False

    def _take_over(self) -> None:
        """Use the tensors of the last cache where they are alike; what is in them is hidden by the mask."""
        if not _LEFT:
            return
        keys, values, place = _LEFT.pop()
        alike = lambda x, y: (x.shape, x.dtype, x.device) == (y.shape, y.dtype, y.device)  # noqa: E731
        if len(keys) == len(self.keys) and alike(keys[0], self.keys[0]):
            self.keys, self.values, self._place = keys, values, place.zero_()

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


def _leave(keys: list[Tensor], values: list[Tensor], place: Tensor) -> None:
    _LEFT[:] = [(keys, values, place)]
