"""Averages over all ranks and all batches of a step, right however unevenly the samples fall."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor

__all__ = ["Window", "global_count", "global_mean"]


class Window:
    """Counts of the batches of one optimizer step (gradient accumulation).

    The mean over a window is sum(T_a) / sum(N_a) over its batches a. The later counts are not known when the first
    batch is trained on, so every batch is divided by the first one's count, and ``factor`` corrects the average of the
    gradients afterwards.
    """

    def __init__(self) -> None:
        self.counts: dict[str, list[Tensor]] = {}

    def share(self, loss: str, count: Tensor) -> Tensor:
        """Note the global count of a batch; return it relative to the first batch's: what its mean is weighted by."""
        counts = self.counts.setdefault(loss, [])
        counts.append(count.detach())
        return counts[-1] / counts[0].clamp_min(1)

    def factor(self, loss: str) -> Tensor:
        """Return what turns the average of the batches' gradients into the gradient of the window's mean."""
        counts = self.counts[loss]
        return len(counts) * counts[0].clamp_min(1) / sum(counts).clamp_min(1)


def global_count(count: Tensor) -> Tensor:
    """Return the sum of ``count`` over all ranks."""
    count = count.detach().clone()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(count)
    return count


def global_mean(total: Tensor, count: Tensor) -> Tensor:
    """Local sum x world size / ``count``, which is global.

    DDP and FSDP average gradients over ranks; a mean over *local* counts would give every rank the
    same weight, however few frames it holds. Without a process group this is total / count; where the
    count is zero everywhere the result is zero.
    """
    world_size = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    return total * (world_size / count.clamp_min(1))
