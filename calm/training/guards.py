"""Steps that would ruin the weights are skipped on all ranks, counted, and soon end the run."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from calm.errors import CalmError
from calm.training.sharding import full

__all__ = ["NonFiniteGuard"]


class NonFiniteGuard(Callback):
    """Skips optimizer steps whose gradients are not finite; stops after ``patience`` of them in a row.

    It looks at the gradients after they were averaged over ranks, where one rank's NaN is everybody's,
    so all ranks decide alike without talking. Without gradients AdamW leaves weights, moments and
    weight decay alone.
    """

    def __init__(self, *, patience: int = 10) -> None:
        self.patience = patience
        self.num_skipped = 0
        self.num_in_a_row = 0
        self._keys: list[str] = []
        self._fresh_window = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._fresh_window:
            self._keys, self._fresh_window = [], False
        self._keys += [str(key) for key in getattr(batch, "keys", ()) or ()]

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self._fresh_window = True
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = full(torch.nn.utils.get_total_norm([p.grad for p in parameters]))
        if bool(torch.isfinite(norm)):
            self.num_in_a_row = 0
            pl_module.log_dict({"train/grad_norm": norm, "train/skipped_steps": float(self.num_skipped)})
            return
        for parameter in parameters:
            parameter.grad = None
        self.num_skipped += 1
        self.num_in_a_row += 1
        pl_module.log("train/skipped_steps", float(self.num_skipped))
        if self.num_in_a_row >= self.patience:
            raise CalmError(
                f"The gradients were not finite (NaN or infinity) in {self.num_in_a_row} steps in a row",
                where=f"step {trainer.global_step}; batch of {', '.join(self._keys) or 'unnamed samples'}",
                hint="look at these samples, lower optim.learning_rate, or use trainer.precision=32-true",
            )

    def state_dict(self) -> dict[str, Any]:
        return {"num_skipped": self.num_skipped, "num_in_a_row": self.num_in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.num_skipped, self.num_in_a_row = state_dict["num_skipped"], state_dict["num_in_a_row"]
