"""`Rollout`: the cached passes of one batch of prompts through the backbone, block after block; `JointRollout`: of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from calm.backbone import JointCache
from calm.model.prompt import Prompt
from calm.sequence import Rows, allow, block_rows
from calm.sequence.layout import CLEAN

if TYPE_CHECKING:
    from calm.model.generator import Generator

__all__ = ["JointRollout", "Rollout"]

#: blocks allocated at first; the cache grows when a clip is longer
INITIAL_BLOCKS = 64
_UNKNOWN = object()


class Rollout:
    """Prefix and finished blocks in a cache, and passes of the current block against it.

    Args:
        window_blocks: keep only the last so many blocks, with the prefix placed just before them, so
            that the cost per block and all relative positions stay bounded for hours of audio.
    """

    def __init__(
        self, model: Generator, prompt: Prompt, *, block_size: int, window_blocks: int | None = None
    ) -> None:
        self.model, self.task, self.block_size = model, prompt.task, block_size
        self.window_blocks = window_blocks
        self.block = 0
        kept = [blocks for blocks in (window_blocks, model.history) if blocks is not None]
        prefix, rows = model.embed_prefix(prompt)
        self.start = model.target_start(prompt)
        self.cache = model.backbone.new_cache(
            len(prompt),
            capacity=prefix.shape[1] + block_size * (min(kept, default=INITIAL_BLOCKS) + 1),
            history_rows=min(kept) * block_size if kept else None,
        )
        model.backbone(
            prefix,
            positions=rows.position,
            mask=allow(rows, rows),
            residual=model.generation_residual(rows, prompt.task),
            cache=self.cache,
        )
        self.cache.commit_prefix(rows)
        self._begin_block()

    def run(self, x: Tensor) -> Tensor:
        """Pass the K rows [B, K, D] of the current block against the cache; nothing is kept."""
        if self._residual is _UNKNOWN:
            self._residual = self.model.generation_residual(self.rows, self.task)
        return self.model.backbone(
            x, positions=self.rows.position, mask=self.mask, residual=self._residual, cache=self.cache
        )

    def commit(self) -> None:
        """Keep the rows of the last pass as history and go on to the next block."""
        self.cache.commit_block(self.rows)
        self.block += 1
        if self.window_blocks is not None and self.block > self.window_blocks:
            self.cache.move_prefix((self.block - self.window_blocks) * self.block_size)
        self._begin_block()

    def _begin_block(self) -> None:
        """What all passes of a block share: its rows, whom they see, and which of them go through the expert."""
        self.rows = block_rows(
            start=self.start, first_block=self.block, num_blocks=1, block_size=self.block_size, copy=CLEAN
        )
        self.mask = self._visible(self.rows)
        # Found at the first pass: a `JointRollout` routes the rows of all its requests at once.
        self._residual = _UNKNOWN

    def _visible(self, rows: Rows) -> Tensor | None:
        """Everything cached is visible, but padding and what lies before a limited history."""
        if self.model.history is not None:
            return allow(rows, Rows.concatenate([self.cache.rows, rows]), history=self.model.history)
        valid = self.cache.rows.valid
        if bool(valid.all()):
            return None
        keys = torch.cat([valid, rows.valid], dim=1)
        return keys[:, None, :].expand(-1, len(rows), -1)


class JointRollout:
    """Rollouts of several batches of prompts, each at a block of its own, in one pass.

    Args:
        rollouts: of one block size, in the order of the rows that ``run`` takes. Holds until one of them is used
            without the others.
        num_filling: further rows along B that ``run`` takes and returns; they belong to nobody and see nothing.
    """

    def __init__(self, model: Generator, rollouts: Sequence[Rollout], *, num_filling: int = 0) -> None:
        self.model, self.rollouts = model, tuple(rollouts)
        rows = Rows.stack([rollout.rows for rollout in rollouts])
        self._positions = F.pad(rows.position, (0, 0, 0, num_filling))
        self._residual = model.generation_residual(rows, torch.cat([rollout.task for rollout in rollouts]))
        self._masks = [rollout.mask for rollout in rollouts]
        self._cache = JointCache([rollout.cache for rollout in rollouts], num_filling=num_filling)

    def run(self, x: Tensor) -> Tensor:
        """Pass the K rows [B, K, D] of the current blocks of all against their caches; nothing is kept."""
        return self.model.backbone(
            x, positions=self._positions, mask=self._masks, residual=self._residual, cache=self._cache
        )

    def commit(self) -> None:
        """Keep the rows of the last pass, each in its own history."""
        for rollout in self.rollouts:
            rollout.commit()
