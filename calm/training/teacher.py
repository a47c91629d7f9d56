"""What an objective has taken of the first weights is in no checkpoint: a resumed run must be given it again."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from calm.errors import CheckpointError
from calm.model.lora import fingerprint

__all__ = ["SameTeacher"]

TEACHER = "teacher_sha256"


class SameTeacher(Callback):
    """Writes the hash of a teacher's weights into every checkpoint, and compares it when a run goes on."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.hash = fingerprint(weights)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[TEACHER] = self.hash

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if checkpoint.get(TEACHER, self.hash) != self.hash:  # older checkpoints do not say
            raise CheckpointError(
                "The checkpoint was trained with another teacher",
                where="pretrained_ckpt_path",
                hint="give the model that the run was started from",
            )
