"""Audio files and streams that grow: 16-bit pieces in, bytes out as soon as they stand.

What is sent cannot be changed. WAV gets a header that leaves the length open; MP3 and Opus have none to fill in. FLAC has
one, and libsndfile itself cannot read a FLAC without it, so FLAC is not among the formats that stream.
"""

from __future__ import annotations

import io
import struct
from typing import Protocol

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

from calm.audio import Provenance, to_channels, to_pcm
from calm.audio.io import FORMATS
from calm.types import Waveform

__all__ = ["MEDIA_TYPES", "PCM_RATE", "STREAMED", "Encoder", "open_encoder"]

Pcm = NDArray[np.int16]

#: formats of responses
MEDIA_TYPES = {"mp3": "audio/mpeg", "opus": "audio/ogg", "flac": "audio/flac", "wav": "audio/wav", "pcm": "audio/pcm"}
STREAMED = ("mp3", "opus", "wav", "pcm")
#: raw samples say nothing of themselves: clients of OpenAI's take them to be 24 kHz, mono
PCM_RATE = 24_000
UNKNOWN_LENGTH = 0xFFFF_FFFF
#: MP3 has no header that tells the length, and players reckon it from the bit rate: a constant one, 64 kbit/s at 16 kHz
CODING = {"mp3": {"compression_level": 0.6, "bitrate_mode": "CONSTANT"}, "opus": {}}


class Encoder(Protocol):
    """Pieces of one clip, in order."""

    def encode(self, waveform: Waveform) -> tuple[Pcm, bytes]:
        """The samples [S, A] of a piece as they are sent, and the bytes that now stand; either may be empty."""
        ...

    def finish(self) -> tuple[Pcm, bytes]:
        """The last samples and bytes."""
        ...


def open_encoder(format: str, *, sample_rate: int, channels: int, provenance: Provenance) -> Encoder:
    """An encoder for ``format``, one of ``STREAMED``; all but pcm carry ``provenance`` as their tag."""
    if format == "pcm":
        return RawEncoder(sample_rate=sample_rate)
    if format == "wav":
        return WavEncoder(sample_rate=sample_rate, channels=channels, provenance=provenance)
    return FileEncoder(format, sample_rate=sample_rate, channels=channels, provenance=provenance)


class RawEncoder:
    """Little-endian 16-bit samples at ``PCM_RATE``, mono, without a header."""

    def __init__(self, *, sample_rate: int) -> None:
        same = sample_rate == PCM_RATE
        self._resampler = None if same else soxr.ResampleStream(sample_rate, PCM_RATE, 1, dtype="float32")

    def encode(self, waveform: Waveform) -> tuple[Pcm, bytes]:
        return self._convert(to_channels(waveform, 1).audio[0].numpy(), last=False)

    def finish(self) -> tuple[Pcm, bytes]:
        return self._convert(np.zeros(0, dtype=np.float32), last=True)

    def _convert(self, samples: NDArray[np.float32], *, last: bool) -> tuple[Pcm, bytes]:
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=last)
        pcm = to_pcm(Waveform(audio=torch.from_numpy(samples)[None], sample_rate=PCM_RATE))
        return pcm, pcm.tobytes()


class WavEncoder:
    """WAV whose length is unknown: the largest sizes stand in, and players read to the end of the stream."""

    def __init__(self, *, sample_rate: int, channels: int, provenance: Provenance) -> None:
        self._channels = channels
        self._header = _wav_header(sample_rate, channels, provenance)

    def encode(self, waveform: Waveform) -> tuple[Pcm, bytes]:
        pcm = to_pcm(waveform)
        header, self._header = self._header, b""
        return pcm, header + pcm.tobytes()

    def finish(self) -> tuple[Pcm, bytes]:
        return np.zeros((0, self._channels), dtype=np.int16), b""


class FileEncoder:
    """MP3 or Opus as libsndfile writes them: MP3 frame by frame, Opus in pages of a second."""

    def __init__(self, format: str, *, sample_rate: int, channels: int, provenance: Provenance) -> None:
        self._channels = channels
        container, coding = FORMATS[format]
        self._sink = _Sink()
        self._file = soundfile.SoundFile(
            self._sink,
            "w",
            samplerate=sample_rate,
            channels=channels,
            format=container,
            subtype=coding,
            **CODING[format],
        )
        self._file.comment, self._file.software = provenance.to_json(), provenance.generator

    def encode(self, waveform: Waveform) -> tuple[Pcm, bytes]:
        pcm = to_pcm(waveform)
        self._file.write(pcm)
        return pcm, self._sink.drain()

    def finish(self) -> tuple[Pcm, bytes]:
        self._file.close()
        return np.zeros((0, self._channels), dtype=np.int16), self._sink.drain()


class _Sink(io.RawIOBase):
    """A file that only grows: what is written elsewhere than at its end is dropped."""

    def __init__(self) -> None:
        self._position = self._end = 0
        self._new = bytearray()

    def write(self, data) -> int:
        data = bytes(data)
        if self._position == self._end:
            self._new += data
            self._end += len(data)
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def drain(self) -> bytes:
        new, self._new = bytes(self._new), bytearray()
        return new


def _wav_header(sample_rate: int, channels: int, provenance: Provenance) -> bytes:
    """RIFF with the tag where libsndfile looks for it (INFO: ICMT, ISFT), up to the first sample."""
    tags = b"INFO" + _chunk(b"ICMT", provenance.to_json().encode() + b"\0")
    tags += _chunk(b"ISFT", provenance.generator.encode() + b"\0")
    block = 2 * channels
    layout = struct.pack("<HHIIHH", 1, channels, sample_rate, sample_rate * block, block, 16)
    size = struct.pack("<I", UNKNOWN_LENGTH)
    return b"RIFF" + size + b"WAVE" + _chunk(b"fmt ", layout) + _chunk(b"LIST", tags) + b"data" + size


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
