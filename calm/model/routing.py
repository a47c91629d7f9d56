"""Routing: which rows of a sequence belong to the expert, and the hook that takes them there and back (METHOD 3).

Rows are gathered by index, passed through the FFN of their task, and added back by index: no rows, no work.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from calm.backbone import Residual
from calm.expert import Expert
from calm.sequence import Rows
from calm.sequence.layout import TEXT
from calm.types import TASKS, Task

__all__ = ["route", "routed_residual"]


def route(expert: Expert, rows: Rows, task: Tensor) -> dict[Task, Tensor]:
    """Flat indices [R] of the audio rows of every task that ``expert`` serves, R may be 0; ``task`` is [B]."""
    audio = (rows.kind != TEXT) & rows.valid
    return {
        served: ((task == served.id)[:, None] & audio).flatten().nonzero().squeeze(1)
        for served in TASKS
        if served in expert.tasks
    }


def routed_residual(expert: Expert, index: Mapping[Task, Tensor], idle: list[Tensor]) -> Residual:
    """Return the hook by which the backbone meets the expert.

    Args:
        index: task -> flat indices of its rows. The expert is called for every task that is named here, also
            without rows; such outputs, whose sum is 0, are collected in ``idle`` and leave the hidden states alone.
    """
    routed = [task for task, rows in index.items() if len(rows)]
    unrouted = [task for task in index if task not in routed]
    sizes = [len(index[task]) for task in routed]
    together = torch.cat([index[task] for task in routed]) if routed else None

    def residual(layer: int, normed: Tensor, hidden: Tensor) -> Tensor:
        if layer not in expert.layers:
            return hidden
        for task in unrouted:
            idle.append(expert(layer, normed.new_empty(0, normed.shape[-1]), task).sum())
        if together is None:
            return hidden
        parts = normed.flatten(0, 1)[together].split(sizes)
        outs = [expert(layer, rows, task) for task, rows in zip(routed, parts, strict=True)]
        # One addition for all tasks: every one copies the hidden states.
        out = outs[0] if len(outs) == 1 else torch.cat(outs)
        return hidden.flatten(0, 1).index_add(0, together, out.to(hidden.dtype)).view_as(hidden)

    return residual
