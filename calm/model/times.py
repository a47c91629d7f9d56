"""Times that come again in every block: what is made of them is made once, in generation on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["RememberedTimes", "remember_times"]

#: values kept at most: those of several grids
CAPACITY = 256


class RememberedTimes(nn.Module):
    """A module of times alone, [...] -> [..., D], asked for each value once; its weights must not change any more.

    All rows of a pass share few times, the same in every block: they are told apart as numbers, which on an accelerator
    would wait for it. A time's result does not depend on which others it came with.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self._known: dict[float, Tensor] = {}

    def forward(self, time: Tensor) -> Tensor:
        if not time.numel():
            return self.inner(time)
        values = time.flatten().tolist()
        if len(self._known) + len(values) > CAPACITY:
            self._known.clear()
        for value in set(values) - self._known.keys():
            self._known[value] = self.inner(time.new_full((1,), value))[0]
        if len(set(values)) == 1:
            return self._known[values[0]].expand(*time.shape, -1)
        return torch.stack([self._known[value] for value in values]).unflatten(0, time.shape)


def remember_times(model: nn.Module) -> None:
    """Remember what backbone and head make of times, in place and for inference on a CPU only."""
    model.time = RememberedTimes(model.time)
    model.head.remember_times(RememberedTimes)
