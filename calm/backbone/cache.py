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
import torch.nn.functional as F
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
        num_layers, self.batch_size, num_heads, head_dim = shape
        each = (self.batch_size, num_heads, capacity, head_dim)
        #: one buffer [B, H, capacity, d] for every layer
        self.keys, self.values = (
            [torch.zeros(each, device=device, dtype=dtype) for _ in range(num_layers)] for _ in range(2)
        )
        self.history_rows = history_rows
        self.rows: Rows | None = None
        self._rotate = rotate
        self._length = 0
        self._prefix_length = 0
        self._prefix_keys: list[Tensor] = []
        self._oldest = 0

    def __len__(self) -> int:
        """Committed rows."""
        return self._length

    @property
    def capacity(self) -> int:
        """Rows that there is room for."""
        return self.keys[0].shape[2]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new rows [B, H, N, d] as scratch; return committed plus new rows [B, H, len + N, d]."""
        start, count = self._length, keys.shape[2]
        self._reserve(start + count)
        buffers = self.keys[layer], self.values[layer]
        for buffer, new in zip(buffers, (keys, values), strict=True):
            buffer.narrow(2, start, count).copy_(new)
        return tuple(buffer.narrow(2, 0, start + count) for buffer in buffers)

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Write new rows and let them attend to all rows: queries [B, H, N, d] -> [B, H, N, d]."""
        return attend(queries, *self.write(layer, keys, values), mask)

    def fit(self, mask: Tensor) -> Tensor | None:
        """The mask that ``attend`` takes for a bool mask [B, N, committed + N]; None where all rows are visible."""
        return None if bool(mask.all()) else mask

    def reserve(self, count: int) -> None:
        """Make sure that there is room for so many more rows."""
        self._reserve(self._length + count)

    def commit_prefix(self, rows: Rows) -> None:
        """Keep the scratch of the last pass as reference and text."""
        self._advance(rows)
        self._prefix_length = self._oldest = self._length
        # Kept as they are, so that `move_prefix` rotates once and never accumulates rounding.
        self._prefix_keys = [keys[:, :, : self._length].clone() for keys in self.keys]

    def commit_block(self, rows: Rows) -> None:
        """Keep the scratch of the last pass as history; the oldest rows make room when it is full."""
        num_new = len(rows)
        kept = self._length - self._prefix_length
        if self.history_rows is None or kept + num_new <= self.history_rows:
            self._advance(rows)
            return
        source = slice(self._length, self._length + num_new)
        target = slice(self._oldest, self._oldest + num_new)
        for buffer in (*self.keys, *self.values):
            buffer[:, :, target] = buffer[:, :, source]
        for field in dataclasses.fields(self.rows):
            getattr(self.rows, field.name)[:, target] = getattr(rows, field.name)
        wraps = self._oldest + num_new >= self._length
        self._oldest = self._prefix_length if wraps else self._oldest + num_new

    def move_prefix(self, offset: int) -> None:
        """Place the prefix ``offset`` positions later than where it was computed.

        With a sliding history the prefix stays just before the window, so that no relative position
        ever leaves the range that training has seen, for hours of audio.
        """
        offsets = torch.full((self.batch_size, self._prefix_length), offset, device=self.keys[0].device)
        for keys, base in zip(self.keys, self._prefix_keys, strict=True):
            keys[:, :, : self._prefix_length] = self._rotate(base, offsets)

    def _advance(self, rows: Rows) -> None:
        self.rows = rows if self.rows is None else Rows.concatenate([self.rows, rows])
        self._length += len(rows)

    def _reserve(self, length: int) -> None:
        if length > (capacity := self.capacity):
            extra = max(length, 2 * capacity) - capacity
            for buffers in (self.keys, self.values):
                # Layer by layer: the old and the new buffers of all are never there together.
                for layer, buffer in enumerate(buffers):
                    buffers[layer] = F.pad(buffer, (0, 0, 0, extra))
