"""`Branch`: a cached rollout as the sampler sees it."""

from __future__ import annotations

from torch import Tensor

__all__ = ["Branch", "frame_times"]


class Branch:
    """Abstract cached rollout of one batch of prompts, block after block. Made by ``Generator.open`` and ``.join``."""

    def velocity(self, noisy: Tensor, time: Tensor) -> Tensor:
        """One network evaluation: x_t [B, K, C] of the current block at time [B] -> velocity [B, K, C]."""
        raise NotImplementedError

    def append(self, block: Tensor, *, time: Tensor | float = 1.0) -> Tensor:
        """Take the finished block [B, K, C] into the history; return stop logits [B, K].

        ``time``: the t that the block is said to be at, of all or [B]. Below 1 it counts as noised, and weighs less.
        """
        raise NotImplementedError


def frame_times(block: Tensor, time: Tensor | float) -> Tensor:
    """The times [B, K] of the frames of a block [B, K, C]."""
    if isinstance(time, Tensor):
        return time[:, None].expand(block.shape[:2])
    return block.new_full(block.shape[:2], time)
