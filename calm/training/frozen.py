"""What a run has taken of other weights and never changes: its checkpoints name it by a hash, so it is given again."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from calm.errors import CheckpointError
from calm.model.lora import fingerprint, frozen_weights
from calm.part import Part

__all__ = ["AdapterCheckpoints", "SameTeacher"]


class SameWeights(Callback):
    """Writes the hash of unchanging weights into every checkpoint, and compares it when a run goes on."""

    #: the checkpoint's key, what its error says, and the settings that name the weights
    key: str
    problem: str
    settings: str
    #: whether checkpoints from before there was the key go on
    may_lack: bool = False

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.hash = fingerprint(weights)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[self.key] = self.hash

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if checkpoint.get(self.key, self.hash if self.may_lack else None) != self.hash:
            hint = "give the model that the run was started from"
            raise CheckpointError(self.problem, where=self.settings, hint=hint)


class SameTeacher(SameWeights):
    """For objectives that learn from the first weights of their run."""

    key = "teacher_sha256"
    problem = "The checkpoint was trained with another teacher"
    settings = "pretrained_ckpt_path"
    may_lack = True


class AdapterCheckpoints(SameWeights):
    """For LoRA: leaves the frozen weights out of every checkpoint as well."""

    key = "frozen_sha256"
    problem = "The checkpoint was trained on top of other weights"
    settings = "pretrained_ckpt_path, vae_ckpt_path or backbone.path"

    def __init__(self, root: Part) -> None:
        frozen = frozen_weights(root)
        super().__init__(frozen)
        self.names = set(frozen)
        root.strict_loading = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: tensor for name, tensor in state.items() if name not in self.names}
