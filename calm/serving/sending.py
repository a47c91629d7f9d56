"""A clip on its way out: marked, encoded, and noted for the signed record that can be fetched when it has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Protocol

import torch

from calm.safety import StreamedAudio, open_mark, publish_bytes
from calm.serving.bridge import LiveStream
from calm.serving.encode import PCM_RATE, STREAMED, open_encoder
from calm.serving.errors_http import HttpError
from calm.serving.service import Service
from calm.serving.wish import Wish
from calm.types import Waveform

__all__ = ["Sending", "chunks", "open_sending"]

_log = logging.getLogger(__name__)


class Sending(Protocol):
    """One clip in one format."""

    record_id: str
    #: whether everything comes at the end, in one piece
    whole: bool

    def push(self, waveform: Waveform) -> bytes:
        """Bytes that now stand; perhaps none."""
        ...

    def finish(self, live: LiveStream) -> bytes:
        """The last bytes, once the stream has ended; the record can be fetched from now on. Takes milliseconds."""
        ...


def open_sending(wish: Wish, format: str, service: Service, *, as_file: bool) -> Sending:
    """Whole, where that is asked for or the format must tell its length first; else as it grows."""
    if format != "pcm" and (as_file or format not in STREAMED):
        return Whole(wish, format, service)
    return Growing(wish, format, service)


async def chunks(live: LiveStream, sending: Sending) -> AsyncIterator[bytes]:
    """All bytes, none of them empty. Raises HttpError where the stream does not end by itself."""
    async for piece in live.pieces():
        if data := sending.push(piece):
            yield data
    if live.broken:
        raise _broken(live)
    if not live.stream.timings.audio_seconds:
        raise HttpError(500, "The model made no audio for this request", code="no_audio")
    if data := await asyncio.to_thread(sending.finish, live):
        yield data


def _broken(live: LiveStream) -> HttpError:
    reason = live.stream.finish_reason
    if reason == "deadline":
        return HttpError(504, "The generation took too long", code="deadline")
    if reason == "cancelled":
        return HttpError(503, "The server is shutting down", code="shutting_down")
    if reason == "slow_reader":
        return HttpError(408, "The audio was not read in time", code="slow_reader")
    _log.error("A generation failed", exc_info=live.stream.error)
    return HttpError(500, "The generation failed; the server's log says why", code="generation_failed")


class Growing:
    """Bytes as soon as they stand."""

    whole = False

    def __init__(self, wish: Wish, format: str, service: Service) -> None:
        self.record_id, self._records = service.records.new_id(), service.records
        vae, settings = service.engine.model.model.vae, service.provenance
        self._rate = vae.sample_rate
        rate, channels = (PCM_RATE, 1) if format == "pcm" else (vae.sample_rate, vae.channels)
        self._mark = open_mark(settings, sample_rate=vae.sample_rate, channels=vae.channels)
        self._audio = StreamedAudio(
            wish.provenance,
            format=format,
            sample_rate=rate,
            channels=channels,
            settings=settings,
            mark=self._mark,
            record=f"with the server, {self.record_id}",
        )
        self._encoder = open_encoder(
            format, sample_rate=vae.sample_rate, channels=vae.channels, provenance=self._audio.provenance
        )

    def push(self, waveform: Waveform) -> bytes:
        if self._mark is not None:
            waveform = replace(waveform, audio=self._mark.push(waveform.audio))
        return self._encode(waveform)

    def finish(self, live: LiveStream) -> bytes:
        rest = b""
        if self._mark is not None:
            rest = self._encode(Waveform(audio=self._mark.finish(), sample_rate=self._rate))
        pcm, data = self._encoder.finish()
        self._audio.update(pcm, data)
        self._records.put(self.record_id, self._audio.sidecar(finish_reason=live.stream.finish_reason))
        return rest + data

    def _encode(self, waveform: Waveform) -> bytes:
        if not waveform.audio.shape[-1]:
            return b""
        pcm, data = self._encoder.encode(waveform)
        self._audio.update(pcm, data)
        return data


class Whole:
    """The file in one piece, with everything that a published file gets."""

    whole = True

    def __init__(self, wish: Wish, format: str, service: Service) -> None:
        self.record_id, self._records = service.records.new_id(), service.records
        self._wish, self._format, self._settings = wish, format, service.provenance
        self._pieces: list[Waveform] = []

    def push(self, waveform: Waveform) -> bytes:
        self._pieces.append(waveform)
        return b""

    def finish(self, live: LiveStream) -> bytes:
        audio = torch.cat([piece.audio for piece in self._pieces], dim=-1)
        signed = publish_bytes(
            Waveform(audio=audio, sample_rate=self._pieces[0].sample_rate),
            format=self._format,
            provenance=self._wish.provenance,
            settings=self._settings,
        )
        self._records.put(self.record_id, signed.sidecar)
        return signed.data
