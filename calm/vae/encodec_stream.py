"""Exact streaming of EnCodec's causal decoder: convolution, LSTM and transposed-convolution state are carried."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calm.errors import InputError
from calm.vae.base import DecoderStream

__all__ = ["EncodecStream"]


class _Codec(Protocol):
    decoder: nn.Module
    channels: int

    def unpatch(self, latents: Tensor) -> Tensor: ...


class EncodecStream(DecoderStream):
    """Walks the decoder's layers with their past.

    The codec's convolutions start from a reflection of their own first inputs, so nothing is decoded until
    the first one (``start`` codec frames) can be reflected; a shorter clip is decoded whole at the end.
    """

    def __init__(self, vae: _Codec) -> None:
        self._vae = vae
        self._state: dict[nn.Module, Any] = {}
        self._waiting: list[Tensor] = []
        self._start = vae.decoder.model[0].conv.conv.kernel_size[0]
        self._started = self._finished = False
        self._nothing = torch.zeros(1, vae.channels, 0)

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        self._check_open()
        self._nothing = latents.new_zeros(len(latents), self._vae.channels, 0)
        self._waiting.append(self._vae.unpatch(latents))
        x = torch.cat(self._waiting, dim=-1)
        if not self._started and x.shape[-1] < self._start:
            return self._nothing
        self._started = True
        self._waiting.clear()
        for layer in self._vae.decoder.model:
            x = self._step(layer, x)
        return x

    @torch.no_grad()
    def finish(self) -> Tensor:
        self._check_open()
        self._finished = True
        self._state.clear()
        if self._waiting:
            return self._vae.decoder(torch.cat(self._waiting, dim=-1))
        return self._nothing

    def _check_open(self) -> None:
        if self._finished:
            raise InputError(
                "This stream is finished", where=type(self).__name__, hint="call vae.stream() for a fresh one"
            )

    def _step(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Run one layer of the decoder on x [B, D, N]; layers are told apart by what they hold."""
        if hasattr(layer, "lstm"):
            return self._lstm(layer, x)
        if hasattr(layer, "convtr"):
            return self._transposed(layer, x)
        if hasattr(layer, "shortcut"):
            y = x
            for inner in layer.block:
                y = self._step(inner, y)
            return self._step(layer.shortcut, x) + y
        if hasattr(layer, "conv"):
            return self._convolution(layer, x)
        return layer(x)

    def _convolution(self, layer: nn.Module, x: Tensor) -> Tensor:
        conv = layer.conv.conv
        context = (conv.kernel_size[0] - 1) * conv.dilation[0]
        if context == 0:
            return layer.conv(x)
        past = self._state.get(layer)
        x = F.pad(x, (context, 0), mode="reflect") if past is None else torch.cat([past, x], dim=-1)
        self._state[layer] = x[..., -context:]
        return layer.conv(x)

    def _lstm(self, layer: nn.Module, x: Tensor) -> Tensor:
        rows = x.permute(2, 0, 1)
        y, self._state[layer] = layer.lstm(rows, self._state.get(layer))
        return (y + rows if layer.skip else y).permute(1, 2, 0)

    def _transposed(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Overlap-add: what reaches beyond the last input is kept for the next push; its bias is added once."""
        conv = layer.convtr.convtr
        overlap = conv.kernel_size[0] - conv.stride[0]
        y = layer.convtr(x)
        past = self._state.get(layer)
        if past is not None:
            y = torch.cat([y[..., :overlap] + past, y[..., overlap:]], dim=-1)
        self._state[layer] = y[..., y.shape[-1] - overlap :] - conv.bias[:, None]
        return y[..., : y.shape[-1] - overlap]
