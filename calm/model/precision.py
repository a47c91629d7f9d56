"""The precision that a generator is run in: which of its linear layers are packed, and what stays in float32."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch
from torch import nn

from calm.errors import ConfigError, did_you_mean
from calm.head.base import TimeEmbedding
from calm.model.generator import Generator
from calm.model.packed import PACKED, RotatedInt8Linear, missing

__all__ = ["PRECISIONS", "choose_precision", "set_precision"]

#: "fp32" is the model as it was trained, "auto" the choice for its device
PRECISIONS = ("auto", "fp32", *PACKED)
#: what is used where a CPU lacks a kind
_FALLBACK = "bf16"
#: layers whose input has a few large channels: the product of gate and projection, and the state that the head reads
_UNEVEN_INPUT = ("down_proj", "condition")

_log = logging.getLogger(__name__)


def choose_precision(precision: str, *, device: torch.device) -> str:
    """Return the name in ``PACKED``, or "fp32", that a model on this device is run in.

    "auto" is float32: the fast kinds change what is heard, if only a little, so they are asked for by name. A kind that
    this CPU lacks becomes bfloat16, which is said once. Raises ConfigError for other names, and for FBGEMM's kinds on
    another device than a CPU.
    """
    if precision not in PRECISIONS:
        raise ConfigError(
            f"Unknown precision '{precision}'. {did_you_mean(precision, PRECISIONS) or ''}".strip(),
            where="precision",
            allowed=PRECISIONS,
        )
    if precision in ("auto", "fp32"):
        return "fp32"
    if precision == "bf16":
        return precision
    if device.type != "cpu":
        raise ConfigError(
            f"Precision '{precision}' runs on a CPU, the model is on '{device}'", where="precision", allowed="auto, fp32, bf16"
        )
    if reason := missing(precision):
        _log.warning("Precision %s is not to be had on this CPU (%s): %s is used", precision, reason, _FALLBACK)
        return _FALLBACK
    return precision


def set_precision(model: Generator, precision: str) -> Generator:
    """Pack the linear layers of a generator in place, for inference only, and return it.

    Packed are the layers between: those of backbone, expert and head. In float32 stay those that read latents or write
    them, embeddings of text and time, norms, attention, the stop head and the VAE: they are few, or their rounding
    would go straight into what is heard. Raises ConfigError as `choose_precision` does.
    """
    chosen = choose_precision(precision, device=model.null_text.device)
    if chosen != "fp32":
        for parent, name, linear in list(_inner_layers(model)):
            rotated = chosen == "int8" and name in _UNEVEN_INPUT
            setattr(parent, name, (RotatedInt8Linear if rotated else PACKED[chosen])(linear))
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
