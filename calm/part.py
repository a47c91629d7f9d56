"""`Part`: the one base class of VAE, backbone, head, expert and of the roots that hold them.

A leaf writes `forward`, `losses(batch)` and `param_groups()`. `training_step` and
`configure_optimizers` exist once, here, so that every part can be given to `Trainer.fit` alone in a
notebook; inside a root a part is inert: only the root logs, optimises and hooks.

Inference needs no lightning: a part that is built before `lightning` is imported is a plain `torch.nn.Module`,
one that is built afterwards is a LightningModule as well. Import it, or `calm.training`'s functions, first where
a part is to be trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from calm._lightning import trainable

__all__ = ["Part", "linear_of"]


class Part(nn.Module):
    """Base of all components. Subclasses are built as ``Class(config, **runtime)`` by the registry."""

    #: learning rate of a part that is trained alone in a notebook
    learning_rate: float = 2e-4

    def __new__(cls, *_: Any, **__: Any) -> Part:
        return super().__new__(trainable(cls))

    def losses(self, batch: Any) -> Mapping[str, Tensor]:
        """Return named scalar losses; ``loss`` is the one that is minimised."""
        raise NotImplementedError(f"{type(self).__name__} defines no losses: train it inside a model")

    def param_groups(self) -> Iterable[dict[str, Any]]:
        """Return optimizer groups: dicts with ``params`` and a ``part`` name (see calm.training.optim)."""
        return [{"part": type(self).__name__.lower(), "params": [p for p in self.parameters() if p.requires_grad]}]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        losses = self.losses(batch)
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()})
        return losses["loss"]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        size = len(batch) if hasattr(batch, "__len__") else None
        values = {f"val/{name}": value for name, value in self.losses(batch).items()}
        self.log_dict(values, batch_size=size, sync_dist=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(list(self.param_groups()), lr=self.learning_rate, betas=(0.9, 0.95))


def linear_of(weight: Tensor, bias: Tensor | None = None, *, trained: bool = True) -> nn.Linear:
    """A linear layer around ``weight`` [D', D], without numbers drawn for one that is replaced.

    `nn.utils.skip_init` does as much, and imports sympy for it: half a second of the start of every command.
    """
    linear = nn.Linear(*reversed(weight.shape), bias=bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=trained)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=trained)
    return linear
