"""`Branch`: a cached rollout as the sampler sees it."""

from __future__ import annotations

from torch import Tensor

__all__ = ["Branch"]


class Branch:
    """Abstract cached rollout of one batch of prompts, block after block. Made by ``Generator.open``."""

    def velocity(self, noisy: Tensor, time: Tensor, span: Tensor | None = None) -> Tensor:
        """One network evaluation: x_t [B, K, C] of the current block at time [B] -> velocity [B, K, C].

        ``span`` [B]: average over time to time + span instead, where ``head.averages``.
        """
        raise NotImplementedError

    def append(self, block: Tensor, *, time: float = 1.0) -> Tensor:
        """Take the finished block [B, K, C] into the history; return stop logits [B, K].

        ``time``: the t that the block is said to be at. Below 1 it counts as noised, and weighs less.
        """
        raise NotImplementedError
