"""What each row of a sequence is. The mask, the positions and the losses all read these records.

A training sequence of one sample (METHOD, "AR-Flow"):

    [reference] [text] [clean blocks 0..n-1] [noisy copy 1 of blocks 0..n-1] ... [noisy copy M]

Generation builds the same rows piece by piece: first the prefix, then one block at a time.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["CLEAN", "REFERENCE", "TARGET", "TEXT", "Rows", "block_rows", "prefix_rows", "training_rows"]

REFERENCE, TEXT, TARGET = 0, 1, 2
CLEAN = 0


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Metadata of rows, each int64 [B, N] but ``valid`` (bool).

    kind      REFERENCE, TEXT or TARGET
    order     index within the row's own segment (reference frame, token, or target frame)
    copy      CLEAN (0) or the number of the noisy copy, 1..M; 0 outside the target
    block     block of a target row; -1 outside the target
    position  rotary position; clean and noisy copies of a frame share it
    document  rows of different documents never see each other (packing)
    valid     False for padding
    """

    kind: Tensor
    order: Tensor
    copy: Tensor
    block: Tensor
    position: Tensor
    document: Tensor
    valid: Tensor

    def __len__(self) -> int:
        return self.kind.shape[1]

    def __getitem__(self, index: slice | Tensor) -> Rows:
        """Select rows along N."""
        return self._map(lambda tensor: tensor[:, index])

    def select(self, index: Tensor | slice) -> Rows:
        """Select samples along B."""
        return self._map(lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> Rows:
        return self._map(lambda tensor: tensor.to(device))

    @staticmethod
    def concatenate(parts: list[Rows]) -> Rows:
        """Join segments along N."""
        fields = [field.name for field in dataclasses.fields(Rows)]
        return Rows(**{name: torch.cat([getattr(part, name) for part in parts], dim=1) for name in fields})

    @staticmethod
    def stack(parts: list[Rows]) -> Rows:
        """Join batches of equally many rows along B."""
        fields = [field.name for field in dataclasses.fields(Rows)]
        return Rows(**{name: torch.cat([getattr(part, name) for part in parts]) for name in fields})

    def _map(self, function) -> Rows:
        return Rows(**{f.name: function(getattr(self, f.name)) for f in dataclasses.fields(self)})


def _segment(kind: int, *, offset: Tensor, num: Tensor, length: int) -> Rows:
    """Rows 0..length-1 of one segment that starts at position ``offset`` [B] and has ``num`` [B] valid rows."""
    order = torch.arange(length, device=num.device).expand(len(num), length)
    zeros = torch.zeros_like(order)
    return Rows(
        kind=zeros + kind,
        order=order,
        copy=zeros,
        block=zeros - 1,
        position=order + offset[:, None],
        document=zeros,
        valid=order < num[:, None],
    )


def prefix_rows(*, num_reference: Tensor, num_text: Tensor, reference_length: int, text_length: int) -> Rows:
    """Reference rows, then text rows. Positions are contiguous per sample, whatever the padding.

    Args:
        num_reference, num_text: valid rows [B]. reference_length, text_length: padded lengths.
    """
    reference = _segment(REFERENCE, offset=torch.zeros_like(num_reference), num=num_reference, length=reference_length)
    text = _segment(TEXT, offset=num_reference, num=num_text, length=text_length)
    return Rows.concatenate([reference, text])


def block_rows(
    *, start: Tensor, first_block: int, num_blocks: int, block_size: int, num_valid: Tensor | None = None, copy: int = CLEAN
) -> Rows:
    """Rows of consecutive target blocks, clean or one noisy copy.

    Args:
        start: position of target frame 0 for each sample, [B].
        first_block, num_blocks, block_size: which blocks; block b holds frames b*K .. (b+1)*K - 1.
        num_valid: number of valid frames of the whole target [B]; all by default.
        copy: CLEAN, or 1..M.
    """
    order = first_block * block_size + torch.arange(num_blocks * block_size, device=start.device)
    order = order.expand(len(start), -1)
    zeros = torch.zeros_like(order)
    return Rows(
        kind=zeros + TARGET,
        order=order,
        copy=zeros + copy,
        block=order.div(block_size, rounding_mode="floor"),
        position=order + start[:, None],
        document=zeros,
        valid=torch.ones_like(order, dtype=torch.bool) if num_valid is None else order < num_valid[:, None],
    )


def training_rows(
    prefix: Rows, *, start: Tensor, num_blocks: int, block_size: int, num_valid: Tensor, num_copies: int
) -> Rows:
    """The rows of a whole training sequence: prefix, clean blocks, ``num_copies`` noisy copies."""
    copies = [
        block_rows(
            start=start, first_block=0, num_blocks=num_blocks, block_size=block_size, num_valid=num_valid, copy=copy
        )
        for copy in range(num_copies + 1)
    ]
    return Rows.concatenate([prefix, *copies])
