"""Times that come again in every block: what is made of them is made once, in generation on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["RememberedTimes", "remember_times"]

#: values kept, about: those of several grids
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
        # Of this call alone: another thread may clear what is known at any time.
        found = {value: self._known.get(value) for value in set(values)}
        for value in [value for value, row in found.items() if row is None]:
            found[value] = self.inner(time.new_full((1,), value))[0]
        if len(self._known) + len(found) > CAPACITY:
            self._known.clear()
        self._known.update(found)
        if len(found) == 1:
            return found[values[0]].expand(*time.shape, -1)
        return torch.stack([found[value] for value in values]).unflatten(0, time.shape)


def remember_times(model: nn.Module) -> None:
    """Remember what backbone and head make of times, in place and for inference on a CPU only."""
    model.time = RememberedTimes(model.time)
    model.head.remember_times(RememberedTimes)
