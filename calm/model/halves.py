"""Conditional and unconditional rows of a branch that belong together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from calm.model.branch import filling

__all__ = ["Halves", "pair_rows"]


def pair_rows(sizes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Which rows are of one request, in branches of ``sizes`` rows each, conditional ones first.

    Returns: the conditional row of every request [P], the unconditional one [P], and the request of every row [2 P].
    """
    parts = torch.arange(sum(sizes)).split(list(sizes))
    first, second = (torch.cat([part.view(2, -1)[half] for part in parts]) for half in (0, 1))
    request = torch.empty(sum(sizes), dtype=torch.int64)
    request[first] = request[second] = torch.arange(len(first))
    return first, second, request


class Halves:
    """The rows of ``pair_rows``, for a head that reads both states of a request.

    Args:
        like: rows [B, K, D] of all branches; what it has beyond them fills it up. The P pairs are filled up as well, so
            that a request is rounded alike in any company.
    """

    def __init__(self, sizes: Sequence[int], *, like: Tensor) -> None:
        first, second, pair = pair_rows(sizes)
        filled = filling(len(first), like.shape[1])
        self._first, self._second = (torch.cat([rows, rows[:1].expand(filled)]).to(like.device) for rows in (first, second))
        self._pair = F.pad(pair, (0, len(like) - len(pair))).to(like.device)

    def conditional(self, rows: Tensor) -> Tensor:
        """Of all rows [B, ...] the conditional ones [P, ...]."""
        return rows.index_select(0, self._first)

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of all rows [B, ...] the conditional and the unconditional ones, each [P, ...]."""
        return self.conditional(rows), rows.index_select(0, self._second)

    def for_all(self, rows: Tensor) -> Tensor:
        """For every row [B, ...] what its request has of [P, ...]."""
        return rows.index_select(0, self._pair)
