"""Keeps the data module's place in step with training, so that every checkpoint resumes at the next batch."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

__all__ = ["ResumeCallback"]


class ResumeCallback(Callback):
    """Notes the step of every batch that was trained on; must come before callbacks that save checkpoints.

    A hook of the module would run after they have saved. Batches that workers have prepared but that
    were not trained on do not count.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        trainer.datamodule.next_step = batch.step + 1
