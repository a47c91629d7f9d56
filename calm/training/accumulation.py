"""Gradient accumulation with exact means: every frame of a window of batches counts the same, wherever it fell."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from calm.model.distributed import Window
from calm.training.steps import batches_of

__all__ = ["ExactAccumulation"]


class ExactAccumulation(Callback):
    """Opens a `Window` at the first batch of every optimizer step, and corrects the gradients before the step.

    Lightning averages the gradients of the batches; their losses are divided by the counts of the first one, so the
    mean over the window is that average times one factor a loss. Must come before what looks at gradients.
    """

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batches_of(trainer) % trainer.accumulate_grad_batches == 0:
            pl_module.window = Window()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        for loss, parameters in pl_module.parameters_by_loss().items():
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            if gradients:
                torch._foreach_mul_(gradients, float(pl_module.window.factor(loss)))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.window = None
