"""Averages over all ranks, right however unevenly the samples fall."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor

__all__ = ["global_mean"]


def global_mean(total: Tensor, count: Tensor) -> Tensor:
    """Local sum x world size / global count.

    DDP and FSDP average gradients over ranks; a mean over *local* counts would give every rank the
    same weight, however few frames it holds. Without a process group this is total / count; where the
    count is zero everywhere the result is zero.
    """
    world_size = 1
    if dist.is_available() and dist.is_initialized():
        world_size = dist.get_world_size()
        count = count.detach().clone()
        dist.all_reduce(count)
    return total * (world_size / count.clamp_min(1))
