"""Streaming decoder of `stft_vae`: convolution, attention and overlap-add state are carried, nothing is recomputed."""

from __future__ import annotations

import torch
from torch import Tensor

from calm.errors import InputError
from calm.vae.attention import State
from calm.vae.base import DecoderStream
from calm.vae.decoder import Decoder

__all__ = ["StftStream"]

# A long push is decoded in pieces of this many latent frames, so that memory stays bounded.
MAX_FRAMES = 64


class StftStream(DecoderStream):
    """Audio of latent frame f is complete after frame f + ``decoder.look_ahead`` and half an STFT window."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._state: State = {}
        self._like: Tensor | None = None
        self._finished = False

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        self._check_open()
        self._like = latents[:, :1]
        pieces = latents.split(MAX_FRAMES, dim=1)
        return torch.cat([self._decoder.push(piece, self._state) for piece in pieces], dim=-1)

    @torch.no_grad()
    def finish(self) -> Tensor:
        self._check_open()
        self._finished = True
        if self._like is None:
            return torch.zeros(1, self._decoder.channels, 0)
        audio = self._decoder.flush(self._like, self._state)
        self._state.clear()
        return audio

    def _check_open(self) -> None:
        if self._finished:
            raise InputError(
                "This stream is finished", where=type(self).__name__, hint="call vae.stream() for a fresh one"
            )
