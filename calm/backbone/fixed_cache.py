"""A cache whose tensors keep their shapes from pass to pass: what a compiled pass, or a CUDA graph, needs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from calm.backbone.cache import Cache
from calm.sequence import Rows

__all__ = ["FixedCache"]

#: the capacity is a multiple of it, so that requests of similar lengths share a compiled pass
STEP = 128


class FixedCache(Cache):
    """Rows attend to the whole buffer, under a mask that hides what is not there: read more, compile once.

    Arguments as for ``Cache``. Only where more rows come than were announced do the buffers grow, and shapes change.
    """

    def __init__(self, shape: tuple[int, int, int, int], *, capacity: int, **more) -> None:
        super().__init__(shape, capacity=-(-capacity // STEP) * STEP, **more)
        # A number on the device: as a Python number it would be a constant of the compiled pass.
        self._place = torch.zeros((), dtype=torch.int64, device=self.keys[0].device)

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
