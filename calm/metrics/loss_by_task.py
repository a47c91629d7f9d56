"""Validation loss by task and by noise level: the loss that a person can read (METHOD 2.3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from calm.errors import InputError
from calm.types import TASKS

__all__ = ["LossByTask"]


class LossByTask(Metric):
    """Mean squared error of the velocity, by task and by bins of the flow time t.

    Sums and counts are summed over batches and ranks and divided once, so ranks and batches with few
    frames of a task do not count more than others.

    Args:
        num_bins: bins of t; bin b covers b / num_bins <= t < (b + 1) / num_bins (t = 0 is noise).
    """

    full_state_update = False

    def __init__(self, *, num_bins: int = 10) -> None:
        super().__init__()
        self.num_bins = num_bins
        shape = (len(TASKS), num_bins)
        self.add_state("total", default=torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", default=torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, total: Tensor, count: Tensor) -> None:
        """Add summed squared errors and numbers of frames, both [3 tasks, num_bins]."""
        expected = (len(TASKS), self.num_bins)
        if tuple(total.shape) != expected or tuple(count.shape) != expected:
            raise InputError(
                f"Errors by noise have the shapes {tuple(total.shape)} and {tuple(count.shape)}",
                where="LossByTask.update",
                allowed=f"{expected}: tasks, bins of t",
            )
        self.total += total.to(self.total)
        self.count += count.to(self.count)

    def compute(self) -> dict[str, Tensor]:
        """Return scalars: ``<task>`` over all t, and ``<task>/t<bin>``. What was never seen is left out."""
        values = {}
        for task in TASKS:
            total, count = self.total[task.id], self.count[task.id]
            if count.sum() > 0:
                values[str(task)] = total.sum() / count.sum()
            for index in range(self.num_bins):
                if count[index] > 0:
                    values[f"{task}/t{index}"] = total[index] / count[index]
        return values
