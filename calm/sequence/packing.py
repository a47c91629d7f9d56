"""Clips of different lengths in one sequence: what would be padding in a batch is not computed.

``Rows.document`` keeps the clips of a sequence apart, and every row keeps its own rotary position, so that packed and
unpacked give the same result.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from calm.sequence.layout import Rows

__all__ = ["Packing", "pack", "share_out"]

#: share of the rows that must be padding for packing to be worth its copies
WORTH = 0.1


def pack(rows: Rows, *, length: int) -> Packing | None:
    """Return the packing of a batch [B, N] into sequences of about ``length`` rows; None where there is little padding."""
    sizes = rows.valid.sum(dim=1).tolist()
    if sum(sizes) > (1 - WORTH) * rows.valid.numel():
        return None
    return Packing(rows, sizes=sizes, length=length)


class Packing:
    """Where the valid rows of a batch lie in packed sequences.

    Args:
        rows: of the batch, [B, N]. sizes: how many of each clip are valid.
        length: rows of a packed sequence, about: as short as the clips allow, and longer where one alone is longer.

    Attributes:
        rows: of the packed sequences, [S, L], S <= B; clip i is document i + 1, padding document 0.
    """

    def __init__(self, rows: Rows, *, sizes: Sequence[int], length: int) -> None:
        counts = torch.tensor(sizes, device=rows.valid.device)
        chosen, starts = share_out(sizes, length=max(length, *sizes))
        num_sequences = max(chosen) + 1
        self._length = max(start + size for start, size in zip(starts, sizes, strict=True))
        self._unpacked, self._packed = rows.valid.shape, (num_sequences, self._length)
        firsts = torch.tensor(
            [sequence * self._length + start for sequence, start in zip(chosen, starts, strict=True)], device=counts.device
        )
        #: flat place of every valid row, clip after clip, in the batch and in the packed sequences
        self._from = rows.valid.flatten().nonzero().squeeze(1)
        rank = torch.arange(len(self._from), device=counts.device) - self._each(counts.cumsum(0) - counts, counts)
        self._to = self._each(firsts, counts) + rank
        self._counts = counts
        fields = {field.name: self._place(getattr(rows, field.name)) for field in dataclasses.fields(rows)}
        self.rows = Rows(**fields | {"document": self.of_clips(torch.arange(1, len(counts) + 1, device=counts.device))})

    def enter(self, x: Tensor) -> Tensor:
        """Rows [B, N, D] of the batch -> of the packed sequences [S, L, D]."""
        return self._place(x)

    def leave(self, x: Tensor) -> Tensor:
        """Rows [S, L, D] of the packed sequences -> of the batch [B, N, D], zeros where there is padding."""
        batch, length = self._unpacked
        out = x.new_zeros(batch * length, *x.shape[2:])
        return out.index_copy(0, self._from, x.flatten(0, 1)[self._to]).unflatten(0, (batch, length))

    def of_clips(self, values: Tensor) -> Tensor:
        """One value for every clip, [B] -> the same for each of its rows, [S, L]; 0 where there is padding."""
        out = values.new_zeros(self._packed[0] * self._packed[1])
        return out.index_copy(0, self._to, self._each(values, self._counts)).view(self._packed)

    def _place(self, x: Tensor) -> Tensor:
        out = x.new_zeros(self._packed[0] * self._packed[1], *x.shape[2:])
        return out.index_copy(0, self._to, x.flatten(0, 1)[self._from]).unflatten(0, self._packed)

    def _each(self, values: Tensor, counts: Tensor) -> Tensor:
        return values.repeat_interleave(counts, output_size=len(self._from))


def share_out(sizes: Sequence[int], *, length: int) -> tuple[list[int], list[int]]:
    """Sequence and first row of every clip, over as few sequences as ``length`` asks for.

    The longest clips first, each into the sequence that is emptiest (Graham, 1969), so that all end nearly together.
    """
    used = [0] * math.ceil(sum(sizes) / length)
    chosen, starts = [0] * len(sizes), [0] * len(sizes)
    for clip in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        number = used.index(min(used))
        chosen[clip], starts[clip] = number, used[number]
        used[number] += sizes[clip]
    return chosen, starts
