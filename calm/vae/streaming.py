"""Streaming decoder of `stft_vae`: convolution, attention and overlap-add state are carried, nothing is recomputed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from calm.errors import InputError
from calm.vae.attention import State
from calm.vae.base import DecoderStream
from calm.vae.decoder import Decoder

__all__ = ["StftStream", "push_together"]

# A long push is decoded in pieces of this many latent frames, so that memory stays bounded.
MAX_FRAMES = 64


class StftStream(DecoderStream):
    """Audio of latent frame f is complete after frame f + ``decoder.look_ahead`` and half an STFT window."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._state: State = {}
        self._like: Tensor | None = None
        self._ended = self._finished = False

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        self._check_open()
        self._like = latents[:, :1]
        audio = [self._decoder.push(piece, self._state) for piece in latents.split(MAX_FRAMES, dim=1)]
        return audio[0] if len(audio) == 1 else torch.cat(audio, dim=-1)

    def last(self, latents: Tensor) -> Tensor:
        self._check_open()
        self._ended = True
        return self._decoder.last(latents)

    @torch.no_grad()
    def finish(self) -> Tensor:
        self._check_open()
        self._finished = True
        if self._like is None:
            return torch.zeros(1, self._decoder.channels, 0)
        audio = self._decoder.rest(self._state) if self._ended else self._decoder.flush(self._like, self._state)
        self._state.clear()
        return audio

    def _check_open(self) -> None:
        if self._finished:
            raise InputError(
                "This stream is finished", where=type(self).__name__, hint="call vae.stream() for a fresh one"
            )

    @property
    def kind(self) -> Hashable:
        """What must be equal for streams to be pushed as one batch: the shapes of their past and how far they are."""
        return tuple((module, _kind(past)) for module, past in self._state.items())

    @staticmethod
    def push_as_one(streams: Sequence[StftStream], latents: Sequence[Tensor]) -> list[Tensor]:
        """Push pieces of one shape to streams of one ``kind`` as one batch."""
        joint = StftStream(streams[0]._decoder)
        joint._state = {module: _join([s._state[module] for s in streams]) for module in streams[0]._state}
        audio = joint.push(torch.cat(list(latents)))
        for index, (stream, piece) in enumerate(zip(streams, latents, strict=True)):
            stream._check_open()
            rows = slice(index * len(piece), (index + 1) * len(piece))
            stream._state = {module: _select(past, rows) for module, past in joint._state.items()}
            stream._like = piece[:, :1]
        return list(audio.split([len(piece) for piece in latents]))


def push_together(streams: Sequence[StftStream], latents: Sequence[Tensor]) -> list[Tensor]:
    """Push a piece to each of several streams, in as few batches as their states allow."""
    alike: dict[Hashable, list[int]] = {}
    for index, (stream, piece) in enumerate(zip(streams, latents, strict=True)):
        alike.setdefault((piece.shape, stream.kind), []).append(index)
    audio: list[Tensor] = list(latents)
    for members in alike.values():
        if len(members) == 1:
            audio[members[0]] = streams[members[0]].push(latents[members[0]])
            continue
        parts = StftStream.push_as_one([streams[i] for i in members], [latents[i] for i in members])
        for index, part in zip(members, parts, strict=True):
            audio[index] = part
    return audio


def _kind(past: Any) -> Hashable:
    """Tensors of a state are batched along their first axis; what else there is must be equal."""
    if isinstance(past, Tensor):
        return past.shape[1:]
    return tuple(map(_kind, past)) if isinstance(past, tuple) else past


def _join(pasts: Sequence[Any]) -> Any:
    if isinstance(pasts[0], Tensor):
        return torch.cat(list(pasts))
    return tuple(map(_join, zip(*pasts, strict=True))) if isinstance(pasts[0], tuple) else pasts[0]


def _select(past: Any, rows: slice) -> Any:
    """A copy, so that a stream that waits does not hold on to the states of the others."""
    if isinstance(past, Tensor):
        return past[rows].clone()
    return tuple(_select(one, rows) for one in past) if isinstance(past, tuple) else past
