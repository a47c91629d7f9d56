"""Routing: which rows of a sequence belong to the expert, and the hook that takes them there and back (METHOD 3).

Rows are gathered by index, passed through the FFN of their task, and added back by index: no rows, no work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from calm.backbone import Residual
from calm.expert import Expert
from calm.sequence import Rows
from calm.sequence.layout import TEXT
from calm.types import TASKS, Task

__all__ = ["idle_output", "route", "routed_residual"]


def route(expert: Expert, rows: Rows, task: Tensor) -> dict[Task, Tensor]:
    """Flat indices [R] of the audio rows of every task that ``expert`` serves, R may be 0; ``task`` is [B] or [B, N]."""
    audio = (rows.kind != TEXT) & rows.valid
    task = task if task.ndim == 2 else task[:, None]
    return {
        served: ((task == served.id) & audio).flatten().nonzero().squeeze(1)
        for served in TASKS
        if served in expert.tasks
    }


def idle_output(expert: Expert, tasks: Iterable[Task], *, like: Tensor) -> Tensor:
    """Return 0, as the sum of the expert's outputs for no rows of ``tasks`` in every layer; ``like`` is [D].

    It belongs in the loss of a batch that lacks these tasks: every weight then has a gradient, of zero, as DDP and
    FSDP need on every rank. Computed apart from the backbone: within a layer whose activations are recomputed
    its backward pass would ask for that layer before the others' does.
    """
    nothing = like.new_empty(0, like.shape[-1])
    outputs = [expert(layer, nothing, task).sum() for layer in sorted(expert.layers) for task in tasks]
    return sum(outputs, start=like.new_zeros(()))


def routed_residual(expert: Expert, index: Mapping[Task, Tensor], *, multiple: int = 1) -> Residual:
    """Return the hook by which the backbone meets the expert; ``index`` is task -> flat indices of its rows, at least one.

    Args:
        multiple: rows of a task are repeated until there are so many, or a multiple; for results that do not depend on
            how many there are.
    """
    sizes = [len(rows) for rows in index.values()]
    together = torch.cat(list(index.values()))
    filled = [torch.cat([rows, rows[:1].expand(-len(rows) % multiple)]) for rows in index.values()]
    gathered = together if multiple == 1 else torch.cat(filled)
    filled_sizes = [len(rows) for rows in filled]

    def residual(layer: int, normed: Tensor, hidden: Tensor) -> Tensor:
        if layer not in expert.layers:
            return hidden
        parts = normed.flatten(0, 1)[gathered].split(filled_sizes)
        outs = [expert(layer, rows, task)[:size] for task, rows, size in zip(index, parts, sizes, strict=True)]
        # One addition for all tasks: every one copies the hidden states.
        out = outs[0] if len(outs) == 1 else torch.cat(outs)
        return hidden.flatten(0, 1).index_add(0, together, out.to(hidden.dtype)).view_as(hidden)

    return residual
