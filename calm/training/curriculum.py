"""The curriculum: a pure function from step to phase, and the callback that applies it.

Its only state is the step, so a resumed run is in the right phase by construction. The expert is
switched by a gate, never by ``requires_grad``: DDP ranks would diverge without a word.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from calm.training.config import CurriculumConfig, OptimConfig, Phase
from calm.training.optim import check_parts, learning_rate
from calm.training.steps import step_of
from calm.types import TASKS, Task

__all__ = ["CurriculumCallback", "longest_at", "phase_at", "phase_index", "weights_at"]


def phase_index(config: CurriculumConfig, step: int) -> int:
    """Return the index of the phase that owns optimizer step ``step`` (0 is the first step)."""
    for index, phase in enumerate(config.phases):
        if phase.until_step is None or step < phase.until_step:
            return index
    raise AssertionError("the last phase has no end")


def phase_at(config: CurriculumConfig, step: int) -> Phase:
    """Return the phase that owns optimizer step ``step``. Every step from 0 on has exactly one."""
    return config.phases[phase_index(config, step)]


def weights_at(config: CurriculumConfig, step: int) -> dict[Task, float]:
    """Return the share of each task in the batches of a step; the shares sum to 1."""
    weights = phase_at(config, step).task_weights
    total = sum(weights.values())
    return {task: weights.get(str(task), 0.0) / total for task in TASKS}


def longest_at(config: CurriculumConfig, step: int) -> dict[Task, float]:
    """Return the seconds of the longest clip that a step may draw, for the tasks that have a limit."""
    return {Task.parse(task): seconds for task, seconds in phase_at(config, step).max_clip_seconds.items()}


class CurriculumCallback(Callback):
    """Applies phase and learning rate at the start of every optimizer step.

    It sets ``root.expert_enabled``, the learning rate of every group that names its ``part``, and,
    while the expert is off, the expert's gradients to None: with gradients of zero AdamW would still
    decay the expert's weights and move them by old momentum (METHOD 3).
    """

    def __init__(self, config: CurriculumConfig, *, optim: OptimConfig, total_steps: int) -> None:
        self.config, self.optim, self.total_steps = config, optim, total_steps

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parts = {group["part"] for group in _groups(trainer.optimizers)}
        check_parts(self.optim.lr_factors, parts=parts, where="optim.lr_factors")
        for index, phase in enumerate(self.config.phases):
            check_parts(phase.lr_factors, parts=parts, where=f"curriculum.phases[{index}].lr_factors")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        step = step_of(trainer)
        phase = phase_at(self.config, step)
        if hasattr(pl_module, "expert_enabled"):
            pl_module.expert_enabled = phase.expert == "on"
        rates = {}
        for group in _groups(trainer.optimizers):
            group["lr"] = rates[group["part"]] = learning_rate(
                self.optim, part=group["part"], phase=phase, step=step, total_steps=self.total_steps
            )
        readings = {f"lr/{part}": rate for part, rate in rates.items()}
        pl_module.log_dict({"phase": float(phase_index(self.config, step)), **readings})

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if phase_at(self.config, step_of(trainer)).expert == "on":
            return
        for group in _groups([optimizer]):
            if group["part"] == "expert":
                for parameter in group["params"]:
                    parameter.grad = None


def _groups(optimizers: list[torch.optim.Optimizer]) -> list[dict[str, Any]]:
    """Groups made by `build_optimizer`; a stage with optimizers of its own has none."""
    return [group for optimizer in optimizers for group in optimizer.param_groups if "part" in group]
