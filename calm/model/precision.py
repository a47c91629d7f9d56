"""The precision that a generator is run in: which of its linear layers are packed, and what stays in float32."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch
from torch import nn

from calm.backbone.fused import fuse
from calm.errors import ConfigError, did_you_mean
from calm.head.base import TimeEmbedding
from calm.model.generator import Generator
from calm.model.packed import PACKED, Int8Linear, MixedLinear, missing

__all__ = ["PRECISIONS", "choose_precision", "set_precision"]

#: "fp32" is the model as it was trained, "auto" the choice for its device
PRECISIONS = ("auto", "fp32", *PACKED)
#: what is used where a CPU lacks a kind that was asked for
_FALLBACK = "bf16"
#: what "auto" is on a CPU: twice as fast as float32, rounding of 2^-11, none where weights were stored in 16 bits
_DEFAULT = "fp16"
#: layers whose input has a few large channels: the product of gate and projection, and the state that the head reads
_UNEVEN_INPUT = ("down_proj", "condition")

_log = logging.getLogger(__name__)


def choose_precision(precision: str, *, device: torch.device, compiled: bool = False) -> str:
    """Return the name in ``PACKED``, or "fp32", that a model on this device is run in.

    "auto" is fp16 on a CPU that has it, and else float32, as it is for a model that will be compiled. A kind that is
    asked for and that this CPU lacks becomes bfloat16, which the log says. Raises ConfigError for other names, for a
    CPU's kinds on another device, and for a CPU's kinds of a compiled model: torch.compile stops at their products.
    """
    if precision not in PRECISIONS:
        raise ConfigError(
            f"Unknown precision '{precision}'. {did_you_mean(precision, PRECISIONS) or ''}".strip(),
            where="precision",
            allowed=PRECISIONS,
        )
    if precision == "auto":
        return _DEFAULT if device.type == "cpu" and not compiled and missing(_DEFAULT) is None else "fp32"
    if precision in ("fp32", _FALLBACK):
        return precision
    if device.type != "cpu":
        raise ConfigError(
            f"Precision '{precision}' is for a CPU, the model is on '{device}'", where="precision", allowed="auto, fp32, bf16"
        )
    if compiled:
        raise ConfigError(
            f"Precision '{precision}' cannot be compiled",
            where="--compile",
            allowed="auto, fp32, bf16",
            hint=f"leave --compile out: '{precision}' alone is faster than compiled fp32 on most CPUs",
        )
    if reason := missing(precision):
        _log.warning("Precision %s is not to be had on this CPU (%s): %s is used", precision, reason, _FALLBACK)
        return _FALLBACK
    return precision


def set_precision(model: Generator, precision: str) -> Generator:
    """Pack the linear layers of a generator in place, for inference only, and return it; on a CPU fuse layers first.

    Packed are the layers between: those of backbone, expert and head. In float32 stay those that read latents or write
    them, embeddings of text and time, norms, attention, the stop head and the VAE: they are few, or their rounding
    would go straight into what is heard. Raises ConfigError as `choose_precision` does.
    """
    chosen = choose_precision(precision, device=model.null_text.device)
    if chosen == "fp32":
        return model
    if model.null_text.device.type == "cpu":
        fuse(model.backbone)
    kind = PACKED[chosen]
    for parent, name, linear in list(_inner_layers(model)):
        uneven = issubclass(kind, Int8Linear) and name in _UNEVEN_INPUT
        setattr(parent, name, MixedLinear(linear, kind) if uneven else kind(linear))
    return model


def _inner_layers(model: Generator) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Layers to pack, as (module that has it, its name there, layer)."""
    for part in filter(None, (model.backbone, model.expert, model.head)):
        exact = {inner for module in part.modules() if isinstance(module, TimeEmbedding) for inner in module.modules()}
        for parent in part.modules():
            for name, child in parent.named_children():
                latent = model.vae.latent_dim in (getattr(child, "in_features", 0), getattr(child, "out_features", 0))
                if type(child) is nn.Linear and child not in exact and not latent:
                    yield parent, name, child
