"""`Halves`: conditional and unconditional rows that belong together, for a head that reads both states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from calm.model.branch import filling

__all__ = ["Halves"]


class Halves:
    """Of branches of ``sizes`` rows each, conditional ones first: which rows are of one request.

    Args:
        like: rows [B, K, D] of all branches; what it has beyond them fills it up. The P pairs are filled up as well, so
            that a request is rounded alike in any company.
    """

    def __init__(self, sizes: Sequence[int], *, like: Tensor) -> None:
        parts = torch.arange(sum(sizes)).split(list(sizes))
        first, second = (torch.cat([part.view(2, -1)[half] for part in parts]) for half in (0, 1))
        pair = torch.zeros(len(like), dtype=torch.int64)
        pair[first] = pair[second] = torch.arange(len(first))
        filled = filling(len(first), like.shape[1])
        self._first, self._second = (torch.cat([rows, rows[:1].expand(filled)]).to(like.device) for rows in (first, second))
        self._pair = pair.to(like.device)

    def conditional(self, rows: Tensor) -> Tensor:
        """Of all rows [B, ...] the conditional ones [P, ...]."""
        return rows.index_select(0, self._first)

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of all rows [B, ...] the conditional and the unconditional ones, each [P, ...]."""
        return self.conditional(rows), rows.index_select(0, self._second)

    def for_all(self, rows: Tensor) -> Tensor:
        """For every row [B, ...] what its request has of [P, ...]."""
        return rows.index_select(0, self._pair)
