"""Sharded training (FSDP2): every process keeps a slice of all weights, and gathers a layer while it computes with it.

The units are the backbone's layers and the rest of the root, as one. An expert belongs to the rest: a rank
without speech reaches the expert's backward pass at another moment than the others, and units of its own would
then wait for each other in another order on every rank.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint

from calm.errors import ConfigError
from calm.part import Part

__all__ = ["full", "full_state", "in_training", "layers_of", "recompute_layers", "shard", "whole"]

#: methods by which the trainer enters a root; each gathers the root's own unit first
ENTRANCES = ("training_step", "validation_step", "errors_by_noise")


def shard(root: Part) -> None:
    """Shard ``root`` over all processes, in place; what is frozen in the VAE stays whole.

    Meant as ``root.configure_model``, which a trainer calls once its processes know each other. Raises ConfigError
    for a root whose backbone has no layers.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = root.device_mesh["data_parallel"]
    frozen = set(root.vae.parameters())
    for layer in layers_of(root, key="trainer.strategy"):
        fully_shard(layer, mesh=mesh)
    # Resharded after the forward pass too: whoever looks at the parameters between steps sees the slices.
    fully_shard(root, mesh=mesh, reshard_after_forward=True, ignored_params=frozen)
    for name in ENTRANCES:
        register_fsdp_forward_method(root, name)


def recompute_layers(root: Part) -> None:
    """Let the backbone's layers forget their activations and compute them again in the backward pass, in place.

    Costs one more forward pass of the backbone; the gradients stay the same.
    """
    for layer in layers_of(root, key="trainer.activation_checkpointing"):
        layer.forward = in_training(functools.partial(checkpoint, layer.forward, use_reentrant=False), otherwise=layer.forward)


def layers_of(root: Part, *, key: str) -> nn.ModuleList:
    """Return the layers of the root's backbone; raises ConfigError, about ``key``, where there are none."""
    layers = getattr(getattr(root, "backbone", None), "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise ConfigError(
            f"{type(root).__name__} has no backbone with a list of layers",
            where=key,
            allowed="a generator whose backbone has `layers`, an nn.ModuleList",
            hint="train it with trainer.strategy=ddp and trainer.activation_checkpointing=none",
        )
    return layers


@contextmanager
def whole(root: nn.Module) -> Iterator[None]:
    """Make ``root`` a plain module with all its weights on every rank, for work that only one rank does.

    A collective call, for a ``with`` block without gradients; nothing happens for a root that is not sharded.
    """
    from torch.distributed.fsdp import FSDPModule

    units = [module for module in root.modules() if isinstance(module, FSDPModule)]
    hooks = [(unit._forward_pre_hooks, unit._forward_hooks) for unit in units]
    for unit in units:
        unit.unshard()
        # Each hook notes the order of the passes, by which later steps gather ahead: it must stay the same on all ranks.
        unit._forward_pre_hooks, unit._forward_hooks = OrderedDict(), OrderedDict()
    try:
        yield
    finally:
        for unit, (before, after) in zip(units, hooks, strict=True):
            unit._forward_pre_hooks, unit._forward_hooks = before, after
            unit.reshard()


def full(tensor: Tensor) -> Tensor:
    """Return a tensor with all its slices, or as it is where it has none. A collective call for a sharded tensor."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def full_state(root: nn.Module) -> dict[str, Tensor]:
    """Return ``root.state_dict()`` without slices, on the CPU. A collective call where the root is sharded."""
    # One after the other: a device never holds more than one whole tensor.
    return {name: full(tensor).cpu() for name, tensor in root.state_dict().items()}


def in_training(function: Callable[..., Any], *, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls ``function`` where gradients are taken, and ``otherwise`` where not."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return (function if torch.is_grad_enabled() else otherwise)(*args, **kwargs)

    return call
