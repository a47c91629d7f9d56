"""Clips of different lengths in one sequence: most of what would be padding in a batch is not computed.

``Rows.document`` keeps the clips of a sequence apart, and every row keeps its own rotary position, so that packed and
unpacked give the same result.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from calm.sequence.layout import Rows

__all__ = ["Packing", "Plan", "pack", "share_out"]

#: so many pairs of rows take as long as one row through a layer: 2 D + 3/2 F products, at D = 512 and F = 1024; more
#: in larger models, where packing pays sooner than is counted here
PAIRS = 2500
#: share of the work that packing must save to be worth its copies
WORTH = 0.1


def pack(rows: Rows, *, length: int) -> Packing | None:
    """Return the packing of a batch [B, N] into sequences of about ``length`` rows; None where it would save little.

    Clips that are long beside ``length`` fill few sequences unevenly, so some more sequences are tried as well. What is
    counted are rows through the layers and pairs of rows under a dense mask.
    """
    sizes, (batch, padded) = rows.valid.sum(dim=1).tolist(), rows.valid.shape
    fewest = math.ceil(sum(sizes) / max(length, *sizes))
    tries = {min(batch, math.ceil(fewest * factor)) for factor in (1.0, 1.25, 1.5, 2.0)}
    plans = [share_out(sizes, count) for count in sorted(tries)]
    best = min(plans, key=lambda plan: _work(plan.num_sequences, plan.length))
    if _work(best.num_sequences, best.length) > (1 - WORTH) * _work(batch, padded):
        return None
    return Packing(rows, sizes=sizes, plan=best)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sequence and first row of every clip, and how many sequences there are of how many rows."""

    chosen: tuple[int, ...]
    starts: tuple[int, ...]
    num_sequences: int
    length: int


def _work(num_sequences: int, length: int) -> float:
    return num_sequences * length * (1 + length / PAIRS)


def share_out(sizes: Sequence[int], num_sequences: int) -> Plan:
    """Clips over sequences: the longest first, each into the emptiest (Graham, 1969), so that all end nearly together."""
    used = [(0, number) for number in range(num_sequences)]
    chosen, starts = [0] * len(sizes), [0] * len(sizes)
    for clip in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        taken, number = used[0]
        chosen[clip], starts[clip] = number, taken
        heapq.heapreplace(used, (taken + sizes[clip], number))
    return Plan(chosen=tuple(chosen), starts=tuple(starts), num_sequences=num_sequences, length=max(used)[0])


class Packing:
    """Where the valid rows of a batch lie in packed sequences.

    Args:
        rows: of the batch, [B, N]. sizes: how many of each clip are valid. plan: where each clip goes.

    Attributes:
        rows: of the packed sequences, [S, L], S <= B; clip i is document i + 1, padding document 0.
    """

    def __init__(self, rows: Rows, *, sizes: Sequence[int], plan: Plan) -> None:
        counts = torch.tensor(sizes, device=rows.valid.device)
        self._unpacked, self._packed = rows.valid.shape, (plan.num_sequences, plan.length)
        places = zip(plan.chosen, plan.starts, strict=True)
        firsts = torch.tensor([sequence * plan.length + start for sequence, start in places], device=counts.device)
        #: flat place of every valid row, clip after clip, in the batch and in the packed sequences
        self._from = rows.valid.flatten().nonzero().squeeze(1)
        rank = torch.arange(len(self._from), device=counts.device) - self._each(counts.cumsum(0) - counts, counts)
        self._to = self._each(firsts, counts) + rank
        self._counts = counts
        fields = {field.name: self.enter(getattr(rows, field.name)) for field in dataclasses.fields(rows)}
        self.rows = Rows(**fields | {"document": self.of_clips(torch.arange(1, len(counts) + 1, device=counts.device))})

    def enter(self, x: Tensor) -> Tensor:
        """Rows [B, N, ...] of the batch -> of the packed sequences [S, L, ...]."""
        return _placed(x.flatten(0, 1)[self._from], self._to, self._packed)

    def leave(self, x: Tensor) -> Tensor:
        """Rows [S, L, ...] of the packed sequences -> of the batch [B, N, ...], zeros where there is padding."""
        return _placed(x.flatten(0, 1)[self._to], self._from, self._unpacked)

    def of_clips(self, values: Tensor) -> Tensor:
        """One value for every clip, [B] -> the same for each of its rows, [S, L]; 0 where there is padding."""
        return _placed(self._each(values, self._counts), self._to, self._packed)

    def _each(self, values: Tensor, counts: Tensor) -> Tensor:
        return values.repeat_interleave(counts, output_size=len(self._from))


def _placed(x: Tensor, places: Tensor, shape: Sequence[int]) -> Tensor:
    """Rows [R, ...] at flat places of a batch of this shape [B, N], zeros elsewhere: [B, N, ...]."""
    return x.new_zeros(math.prod(shape), *x.shape[1:]).index_copy(0, places, x).unflatten(0, shape)
