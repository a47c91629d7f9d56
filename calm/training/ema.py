"""Averaged weights (EMA) of the trainable parameters.

Lightning's ``WeightAveraging`` copies the whole root, a frozen VAE and its buffers included, and counts
``global_step``; this one keeps a float32 shadow of what is trained and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from calm.errors import CheckpointError
from calm.training.steps import window_ends

__all__ = ["EMA", "decay_at"]


def decay_at(num_updates: int, *, limit: float) -> float:
    """Return min(limit, (1 + n) / (10 + n)): a short memory at first, so that the start is soon forgotten."""
    return min(limit, (1 + num_updates) / (10 + num_updates))


class EMA(Callback):
    """Keeps averaged weights; validation sees them, checkpoints hold them beside the raw ones.

    Parameters of the part ``adversary`` are not averaged: nobody uses them after training.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.shadow: dict[str, Tensor] = {}
        self._raw: dict[str, Tensor] | None = None

    @torch.no_grad()
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parameters = averaged_parameters(pl_module)
        resumed = self.shadow
        if resumed and set(resumed) != set(parameters):
            raise CheckpointError(
                "The averaged weights of the checkpoint belong to another model",
                where=sorted(set(resumed) ^ set(parameters))[:5],
            )
        self.shadow = {
            name: resumed.get(name, parameter.detach()).to(parameter.device, torch.float32, copy=True)
            for name, parameter in parameters.items()
        }

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not window_ends(trainer):
            return
        decay = decay_at(self.num_updates, limit=self.decay)
        parameters = averaged_parameters(pl_module)
        # All at once: a kernel per weight would cost a GPU more than its step.
        torch._foreach_lerp_(
            [self.shadow[name] for name in parameters], [p.detach().float() for p in parameters.values()], 1 - decay
        )
        self.num_updates += 1

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.shadow:
            self._swap_in(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap_out(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._swap_out(pl_module)

    @contextmanager
    def averaged(self, root: nn.Module) -> Iterator[None]:
        """Put the averaged weights into ``root`` for the length of a ``with`` block."""
        self._swap_in(root)
        try:
            yield
        finally:
            self._swap_out(root)

    @torch.no_grad()
    def copy_to(self, root: nn.Module) -> None:
        """Put the averaged weights into ``root`` for good: the end of training."""
        for name, parameter in averaged_parameters(root).items():
            if name in self.shadow:
                parameter.copy_(self.shadow[name])

    def state_dict(self) -> dict[str, Any]:
        return {"num_updates": self.num_updates, "shadow": self.shadow}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.num_updates, self.shadow = int(state_dict["num_updates"]), dict(state_dict["shadow"])

    @torch.no_grad()
    def _swap_in(self, root: nn.Module) -> None:
        parameters = averaged_parameters(root)
        # A copy, not an exchange: going back must restore the raw weights to the bit, in any precision.
        self._raw = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        self.copy_to(root)

    @torch.no_grad()
    def _swap_out(self, root: nn.Module) -> None:
        if self._raw is None:
            return
        for name, parameter in averaged_parameters(root).items():
            parameter.copy_(self._raw[name])
        self._raw = None


def averaged_parameters(root: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are averaged, by name: those that are trained, without the adversary's."""
    skipped = {id(p) for group in root.param_groups() if group["part"] == "adversary" for p in group["params"]}
    return {name: p for name, p in root.named_parameters() if p.requires_grad and id(p) not in skipped}
