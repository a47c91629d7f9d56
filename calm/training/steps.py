"""The one count of training: optimizer steps completed, whatever the number of optimizers and micro-batches."""

from __future__ import annotations

import hashlib

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

__all__ = ["SeedBatches", "batches_of", "seed_of", "step_of", "window_ends"]


def batches_of(trainer: Trainer) -> int:
    """Return the number of training batches processed so far, resumed runs included."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.processed


def step_of(trainer: Trainer) -> int:
    """Return the number of optimizer steps completed, or the index of the one in progress.

    Lightning's ``global_step`` counts the steps of every optimizer, so it runs twice as fast in an
    adversarial stage; this count does not.
    """
    return batches_of(trainer) // trainer.accumulate_grad_batches


def window_ends(trainer: Trainer) -> bool:
    """Return, at the end of a batch, whether an optimizer step has just been completed."""
    return batches_of(trainer) % trainer.accumulate_grad_batches == 0


def seed_of(*parts: object) -> int:
    """Return a 63-bit seed that depends on every part and on nothing else."""
    digest = hashlib.blake2b("/".join(str(part) for part in parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class SeedBatches(Callback):
    """Seeds torch at every batch from (seed, batch, rank).

    A resumed run therefore draws the same noise and dropout as one that was never interrupted, with no
    generator state to save. Validation has fixed seeds, so that its losses are comparable over time.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        torch.manual_seed(seed_of(self.seed, batches_of(trainer), trainer.global_rank))

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        torch.manual_seed(seed_of(self.seed, "validation", batch_idx, trainer.global_rank))
