"""How many threads of a CPU a command computes with."""

from __future__ import annotations

import os

import torch
from torch import nn

__all__ = ["fit_threads", "useful_threads"]

#: weights of linear layers that keep one thread busy: below, threads wait for each other longer than they compute
WEIGHTS_PER_THREAD = 64_000_000


def useful_threads(model: nn.Module) -> int:
    """Threads that the products of a block of ``model`` keep busy: one for each 64 M weights of its linear layers."""
    sizes = (getattr(layer, "in_features", 0) * getattr(layer, "out_features", 0) for layer in model.modules())
    return max(1, -(-sum(sizes) // WEIGHTS_PER_THREAD))


def fit_threads(model: nn.Module) -> None:
    """Compute with no more threads than ``model`` keeps busy; what OMP_NUM_THREADS says stays (docs/DECISIONS.md)."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), useful_threads(model)))
