"""Keys and values of earlier rows, for generation block by block.

Layout of every buffer: ``[prefix | blocks | scratch]``. Each pass writes its rows into the scratch
directly behind the committed rows, so reading is one contiguous view and an ODE step copies nothing;
``commit`` turns the scratch into history. With a sliding history the block region is a ring:
attention does not care about the order of keys, because their positions are rotated into them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from calm.backbone.attention import attend
from calm.sequence import Rows

__all__ = ["Cache"]


class Cache:
    """Key-value cache of one batch of requests.

    Args:
        shape: (num_layers, B, num_kv_heads, head_dim).
        capacity: rows to allocate at first; the buffers double when they are full.
        history_rows: keep at most this many committed rows behind the prefix (sliding history).
        rotate: ``rotate(keys [B, H, N, d], positions [B, N])``, the backbone's rotary embedding.
    """

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        *,
        capacity: int,
        rotate: Callable[[Tensor, Tensor], Tensor],
        history_rows: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        num_layers, batch_size, num_heads, head_dim = shape
        self.keys = torch.zeros(num_layers, batch_size, num_heads, capacity, head_dim, device=device, dtype=dtype)
        self.values = torch.zeros_like(self.keys)
        self.history_rows = history_rows
        self.rows: Rows | None = None
        self._rotate = rotate
        self._length = 0
        self._prefix_length = 0
        self._prefix_keys: Tensor | None = None
        self._oldest = 0

    def __len__(self) -> int:
        """Committed rows."""
        return self._length

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new rows [B, H, N, d] as scratch; return committed plus new rows [B, H, len + N, d]."""
        end = self._length + keys.shape[2]
        self._reserve(end)
        self.keys[layer, :, :, self._length : end] = keys
        self.values[layer, :, :, self._length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Write new rows and let them attend to all rows: queries [B, H, N, d] -> [B, H, N, d]."""
        return attend(queries, *self.write(layer, keys, values), mask)

    def commit_prefix(self, rows: Rows) -> None:
        """Keep the scratch of the last pass as reference and text."""
        self._advance(rows)
        self._prefix_length = self._oldest = self._length
        # Kept as they are, so that `move_prefix` rotates once and never accumulates rounding.
        self._prefix_keys = self.keys[:, :, :, : self._length].clone()

    def commit_block(self, rows: Rows) -> None:
        """Keep the scratch of the last pass as history; the oldest rows make room when it is full."""
        num_new = len(rows)
        kept = self._length - self._prefix_length
        if self.history_rows is None or kept + num_new <= self.history_rows:
            self._advance(rows)
            return
        source = slice(self._length, self._length + num_new)
        target = slice(self._oldest, self._oldest + num_new)
        for buffer in (self.keys, self.values):
            buffer[:, :, :, target] = buffer[:, :, :, source]
        for field in dataclasses.fields(self.rows):
            getattr(self.rows, field.name)[:, target] = getattr(rows, field.name)
        wraps = self._oldest + num_new >= self._length
        self._oldest = self._prefix_length if wraps else self._oldest + num_new

    def move_prefix(self, offset: int) -> None:
        """Place the prefix ``offset`` positions later than where it was computed.

        With a sliding history the prefix stays just before the window, so that no relative position
        ever leaves the range that training has seen, for hours of audio.
        """
        base = self._prefix_keys
        offsets = torch.full((base.shape[1], self._prefix_length), offset, device=base.device)
        for layer, keys in enumerate(base):
            self.keys[layer, :, :, : self._prefix_length] = self._rotate(keys, offsets)

    def _advance(self, rows: Rows) -> None:
        self.rows = rows if self.rows is None else Rows.concatenate([self.rows, rows])
        self._length += len(rows)

    def _reserve(self, length: int) -> None:
        capacity = self.keys.shape[3]
        if length <= capacity:
            return
        extra = max(length, 2 * capacity) - capacity
        for name in ("keys", "values"):
            buffer = getattr(self, name)
            setattr(self, name, torch.cat([buffer, torch.zeros_like(buffer[:, :, :, :1]).expand(-1, -1, -1, extra, -1)], 3))
