"""The precision that a generator is run in: which of its linear layers are packed, and what stays in float32."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch
from torch import nn

from calm.backbone.fused import fuse, script
from calm.backbone.scripted_cache import ScriptedCache
from calm.errors import ConfigError, did_you_mean
from calm.head.base import TimeEmbedding
from calm.model.generator import Generator
from calm.model.packed import PACKED, Int8Linear, MixedLinear, PackedLinear, missing
from calm.model.times import remember_times
from calm.vae import VAE
from calm.vae.cepstrum import Envelope
from calm.vae.decoder import Decoder
from calm.vae.fused import FusedDecoder

__all__ = ["PRECISIONS", "choose_precision", "pack_decoder", "set_precision"]

#: "fp32" is the model as it was trained, "auto" the choice for its device
PRECISIONS = ("auto", "fp32", *PACKED)
#: what is used where a CPU lacks a kind that was asked for
_FALLBACK = "bf16"
#: what "auto" is on a CPU: twice as fast as float32, rounding of 2^-11, none where weights were stored in 16 bits
_DEFAULT = "fp16"
#: what the decoder's layers become beside all kinds of a CPU: 8 bits would be heard
_DECODER = "fp16"
#: parts whose layers stay in float32: times, and log-magnitudes, of which all that is heard is a multiple
_EXACT = (TimeEmbedding, Envelope)
#: layers whose input has a few large channels: the product of gate and projection, and the states that the head reads
_UNEVEN_INPUT = ("down_proj", "condition", "bare")

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
    them, embeddings of text and time, norms, attention and the stop head: they are few, or their rounding would go
    straight into what is heard. With a CPU's kinds the VAE's decoder is packed too, see `pack_decoder`, and what is
    made of times is remembered; with bf16, which may be compiled, the decoder stays in float32, as its encoder always
    does. With a CPU's kinds layers and head also run as TorchScript, where torch has it (`calm.scripted`). Raises
    ConfigError as `choose_precision` does, and for a model that is packed already: its weights are no longer there.
    """
    if any(isinstance(module, PackedLinear) for module in model.backbone.modules()):
        raise ConfigError("The model has its precision already", where="precision", hint="load it anew with the one you want")
    chosen = choose_precision(precision, device=model.null_text.device)
    if chosen == "fp32":
        return model
    if model.null_text.device.type == "cpu":
        fuse(model.backbone)
    for part in filter(None, (model.backbone, model.expert, model.head)):
        _pack(part, PACKED[chosen], latent_dim=model.vae.latent_dim)
    if chosen != _FALLBACK:
        script(model.backbone)
        model.head.script()
        model.cache_type = ScriptedCache
        remember_times(model)
        pack_decoder(model.vae)
    return model


def pack_decoder(vae: VAE) -> VAE:
    """Fuse the layers of a VAE's decoder and pack the linear ones in fp16, in place and for inference on a CPU only.

    A push of a stream is few rows for many weights, most of its time goes into reading them. In float32 stay the layers
    that read latents, and the envelope. Nothing changes where the CPU lacks fp16, or where the VAE keeps no module under
    the name ``decoder``, or has been packed. A decoder of `stft_vae` is another module then. Returns the VAE.
    """
    decoder = getattr(vae, "decoder", None)
    if isinstance(decoder, FusedDecoder):
        return vae
    if isinstance(decoder, nn.Module) and missing(_DECODER) is None:
        if isinstance(decoder, Decoder):
            decoder = vae.decoder = FusedDecoder(decoder)
        _pack(decoder, PACKED[_DECODER], latent_dim=vae.latent_dim)
        if isinstance(decoder, FusedDecoder):
            decoder.script()
    return vae


def _pack(part: nn.Module, kind: type[PackedLinear], *, latent_dim: int) -> None:
    for parent, name, linear in list(_inner_layers(part, latent_dim=latent_dim)):
        uneven = issubclass(kind, Int8Linear) and name in _UNEVEN_INPUT
        setattr(parent, name, MixedLinear(linear, kind) if uneven else kind(linear))


def _inner_layers(part: nn.Module, *, latent_dim: int) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Layers to pack, as (module that has it, its name there, layer)."""
    exact = {inner for module in part.modules() if isinstance(module, _EXACT) for inner in module.modules()}
    for parent in part.modules():
        for name, child in parent.named_children():
            latent = latent_dim in (getattr(child, "in_features", 0), getattr(child, "out_features", 0))
            if type(child) is nn.Linear and child not in exact and not latent:
                yield parent, name, child
