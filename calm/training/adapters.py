"""Checkpoints of a fine-tuning with LoRA: what is trained, and by which weights it must be resumed."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from calm.errors import CheckpointError
from calm.model.lora import fingerprint, frozen_weights
from calm.part import Part

__all__ = ["AdapterCheckpoints"]

FROZEN = "frozen_sha256"


class AdapterCheckpoints(Callback):
    """Leaves frozen weights out of every checkpoint, and checks by their hash that a resumed run has the same ones."""

    def __init__(self, root: Part) -> None:
        frozen = frozen_weights(root)
        self.names, self.hash = set(frozen), fingerprint(frozen)
        root.strict_loading = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: tensor for name, tensor in state.items() if name not in self.names}
        checkpoint[FROZEN] = self.hash

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if checkpoint.get(FROZEN) != self.hash:
            raise CheckpointError(
                "The checkpoint was trained on top of other weights",
                where="pretrained_ckpt_path, vae_ckpt_path or backbone.path",
                hint="give the model that the run was started from",
            )
