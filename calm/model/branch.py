"""`Branch`: a cached rollout as the sampler sees it."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

__all__ = ["ROWS_TOGETHER", "Branch", "fill", "filling", "frame_times"]

#: With fewer rows, or an odd rest, matrix products take other kernels, and round otherwise: a request would hear how many
#: others there are. A pitch that is off by rounding alone is out of phase after some seconds.
ROWS_TOGETHER = 4


class Branch:
    """Abstract cached rollout of one batch of prompts, block after block. Made by ``Generator.open`` and ``.join``."""

    def velocity(self, noisy: Tensor, time: Tensor, span: Tensor | None = None) -> Tensor:
        """One network evaluation: x_t [B, K, C] of the current block at time [B] -> velocity [B, K, C].

        ``span`` [B]: average over time to time + span instead, where ``head.averages``.
        """
        raise NotImplementedError

    def append(self, block: Tensor, *, time: Tensor | float = 1.0) -> Tensor:
        """Take the finished block [B, K, C] into the history; return stop logits [B, K].

        ``time``: the t that the block is said to be at, of all or [B]. Below 1 it counts as noised, and weighs less.
        """
        raise NotImplementedError

    @property
    def can_begin(self) -> bool:
        """Whether ``append_and_begin`` is there for the current block."""
        return False

    def append_and_begin(
        self, block: Tensor, noise: Tensor, *, time: Tensor | float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """``append``, and by the same pass ``velocity(noise, 0)`` of the next block [B, K, C]; only where ``can_begin``."""
        raise NotImplementedError


def frame_times(block: Tensor, time: Tensor | float) -> Tensor:
    """The time that the frames of a block [B, K, C] share, [B, 1]."""
    if isinstance(time, Tensor):
        return time[:, None]
    return block.new_full((len(block), 1), time)


def filling(batch_size: int, block_size: int) -> int:
    """How many requests of K rows must be added for the rows to be a multiple of ``ROWS_TOGETHER``."""
    return -batch_size % (ROWS_TOGETHER // math.gcd(ROWS_TOGETHER, block_size))


def fill(x: Tensor, count: int) -> Tensor:
    """x [B, ...] with ``count`` more entries of zeros along B."""
    return F.pad(x, (0, 0) * (x.ndim - 1) + (0, count)) if count else x
