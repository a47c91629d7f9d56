"""`Rollout`: the cached passes of one batch of prompts through the backbone, block after block; `JointRollout`: of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from calm.backbone import JointCache
from calm.model.prompt import Prompt
from calm.model.timing import with_moments
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
        max_blocks: as many are expected at most; more only cost a larger cache.
    """

    def __init__(
        self,
        model: Generator,
        prompt: Prompt,
        *,
        block_size: int,
        window_blocks: int | None = None,
        max_blocks: int | None = None,
    ) -> None:
        self.model, self.task, self.block_size, self.timing = model, prompt.task, block_size, prompt.timing
        self.window_blocks = window_blocks
        self.block = 0
        kept = [blocks for blocks in (window_blocks, model.history) if blocks is not None]
        prefix, rows = model.embed_prefix(prompt)
        self.start = model.target_start(prompt)
        self._among: dict[int, Tensor] = {}
        self.cache = model.backbone.new_cache(
            len(prompt),
            # Room for the current block and the next.
            capacity=prefix.shape[1] + block_size * (min([*kept, max_blocks or INITIAL_BLOCKS]) + 2),
            history_rows=min(kept) * block_size if kept else None,
            kind=model.cache_type,
        )
        model.backbone(
            prefix,
            positions=rows.position,
            mask=self.cache.fit(allow(rows, rows)),
            residual=model.generation_residual(rows, prompt.task),
            cache=self.cache,
        )
        self.cache.commit_prefix(rows)
        self._begin_block()

    def run(self, x: Tensor) -> Tensor:
        """Pass the K rows [B, K, D] of the current block against the cache; nothing is kept."""
        if self._residual is _UNKNOWN:
            self._residual = self.model.generation_residual(self.rows, self.task)
        return self.model.pass_rows(
            with_moments(x, self.moments),
            positions=self.rows.position,
            mask=self.mask,
            residual=self._residual,
            cache=self.cache,
        )

    @property
    def slides(self) -> bool:
        """Whether the prefix moves with the next ``commit``: the two blocks then see it at different places."""
        return self.window_blocks is not None and self.block + 1 > self.window_blocks

    def rows_with_next(self) -> Rows:
        """Rows of the current block and of the one after it."""
        return block_rows(start=self.start, first_block=self.block, num_blocks=2, block_size=self.block_size)

    def visible(self, rows: Rows) -> Tensor | None:
        """Whom rows of the current block and later ones see, as the cache takes it: the one mask, or None for all."""
        if self.model.history is not None:
            mask = allow(rows, Rows.concatenate([self.cache.rows, rows]), history=self.model.history)
        else:
            # Whatever is cached lies in the past; only among themselves have the rows an order, the same in every block.
            if len(rows) not in self._among:
                self._among[len(rows)] = allow(rows, rows)
            past = self.cache.rows.valid[:, None].expand(-1, len(rows), -1)
            mask = torch.cat([past, self._among[len(rows)]], dim=2)
        return self.cache.fit(mask)

    def run_with_next(self, x: Tensor) -> Tensor:
        """Pass the rows [B, 2 K, D] of the current and the next block; ``commit`` then keeps the current one's."""
        rows = self.rows_with_next()
        x = with_moments(x, self.model.moments(rows, self.timing))
        residual = self.model.generation_residual(rows, self.task)
        return self.model.pass_rows(
            x, positions=rows.position, mask=self.visible(rows), residual=residual, cache=self.cache
        )

    def commit(self) -> None:
        """Keep the rows of the current block's pass as history and go on to the next block."""
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
        self.moments = self.model.moments(self.rows, self.timing)
        self.cache.reserve(2 * self.block_size)
        self.mask = self.visible(self.rows)
        # Found at the first pass: a `JointRollout` routes the rows of all its requests at once.
        self._residual = _UNKNOWN


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
        self._task, self._num_filling = torch.cat([rollout.task for rollout in rollouts]), num_filling
        self._timing = torch.cat([rollout.timing for rollout in rollouts])
        self._moments = self._joined([rollout.moments for rollout in rollouts])
        self._residual = model.generation_residual(rows, self._task)
        self._masks = [rollout.mask for rollout in rollouts]
        self._cache = JointCache([rollout.cache for rollout in rollouts], num_filling=num_filling)

    def run(self, x: Tensor) -> Tensor:
        """Pass the K rows [B, K, D] of the current blocks of all against their caches; nothing is kept."""
        return self.model.pass_rows(
            with_moments(x, self._moments),
            positions=self._positions,
            mask=self._masks,
            residual=self._residual,
            cache=self._cache,
        )

    @property
    def slides(self) -> bool:
        return any(rollout.slides for rollout in self.rollouts)

    def run_with_next(self, x: Tensor) -> Tensor:
        """As ``Rollout.run_with_next``, for all at once: [B, 2 K, D]."""
        several = [rollout.rows_with_next() for rollout in self.rollouts]
        rows = Rows.stack(several)
        return self.model.pass_rows(
            with_moments(x, self._joined([self.model.moments(rows, self._timing)])),
            positions=F.pad(rows.position, (0, 0, 0, self._num_filling)),
            mask=[rollout.visible(own) for rollout, own in zip(self.rollouts, several, strict=True)],
            residual=self.model.generation_residual(rows, self._task),
            cache=self._cache,
        )

    def _joined(self, moments: Sequence[Tensor | None]) -> Tensor | None:
        """Those of all requests, and nothing for the filling."""
        return None if moments[0] is None else F.pad(torch.cat(moments), (0, 0, 0, 0, 0, self._num_filling))

    def commit(self) -> None:
        """Keep the rows of the last pass, each in its own history."""
        for rollout in self.rollouts:
            rollout.commit()
