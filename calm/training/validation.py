"""Validation loss by task and noise level, logged as ``val/flow/TASK`` and ``val/flow/TASK/tBIN``."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from calm.metrics.loss_by_task import LossByTask
from calm.training.steps import seed_of

__all__ = ["ValidationByTask"]


class ValidationByTask(Callback):
    """Collects ``root.errors_by_noise`` over the validation batches.

    Noise and times are drawn from a generator seeded by (seed, batch, rank), the same in every
    validation, so a curve shows the model and not the luck of the draw.
    """

    def __init__(self, *, num_bins: int, seed: int) -> None:
        self.seed = seed
        self.metric = LossByTask(num_bins=num_bins)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.metric = self.metric.to(pl_module.device)
        self.metric.reset()

    @torch.no_grad()
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        seed = seed_of(self.seed, "errors by noise", batch_idx, trainer.global_rank)
        generator = torch.Generator().manual_seed(seed)
        self.metric.update(*pl_module.errors_by_noise(batch, num_bins=self.metric.num_bins, generator=generator))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Already the sum over ranks, and every rank logs the same number.
        pl_module.log_dict({f"val/flow/{name}": value.float() for name, value in self.metric.compute().items()})
