"""Audio files and bytes <-> `Waveform`, through libsndfile. Damaged or oversized input is one clear error."""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from einops import rearrange

from calm.audio.files import write_bytes
from calm.audio.provenance import Provenance
from calm.errors import CalmError, DataError, InputError, did_you_mean
from calm.types import Waveform

__all__ = ["AudioInfo", "encode", "info", "read", "read_provenance", "reckoned_tag_frames", "write"]

Source = str | os.PathLike[str] | bytes

#: file extension -> container and coding of libsndfile
FORMATS: dict[str, tuple[str, str]] = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE, MAX_CHANNELS = 1_000, 768_000, 32
BLOCK_FRAMES = 1 << 16
# Programs that stream a WAV into a pipe do not know its length and write about 2^31 or 2^32 instead.
UNKNOWN_WAV_LENGTH = 0x7FFF_0000
# how libsndfile's log tells of it, for WAV, AIFF, AU and W64
_SHORTENED = r"^\s*(?:data|SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)"


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """What a file's header says. ``frames`` counts samples per channel; ``format`` is e.g. ``FLAC/PCM_16``."""

    frames: int
    sample_rate: int
    channels: int
    format: str

    @property
    def seconds(self) -> float:
        return self.frames / self.sample_rate


def info(source: Source, *, where: object = None) -> AudioInfo:
    """Read the header of a file (path) or of a file's bytes; no samples are decoded.

    Args:
        source: path, or the bytes of a whole file.
        where: name used in messages, for example ``shard.tar: key``; by default the path.
    Raises DataError where the source is missing, unreadable, empty, or outside the sane limits.
    """
    with _opened(source, where) as (_, header):
        return header


def read(
    source: Source,
    *,
    start_seconds: float = 0.0,
    max_seconds: float | None = None,
    cap_seconds: float = 3600.0,
    where: object = None,
) -> Waveform:
    """Decode a file or its bytes, or an excerpt of it, to float32 [A, S].

    Memory follows the samples that are really there, not the header's claim: decoding goes block by block.

    Args:
        source: path, or the bytes of a whole file.
        start_seconds: where the excerpt begins; must lie inside the file.
        max_seconds: longest excerpt to return; None reads to the end.
        cap_seconds: an excerpt longer than this is refused before anything is decoded.
        where: name used in messages, for example ``shard.tar: key``; by default the path.
    Raises DataError where the source is missing, unreadable, empty, cut short, too long or not finite.
    """
    with _opened(source, where) as (file, header):
        name = _name(source, where)
        start = round(start_seconds * header.sample_rate)
        if not 0 <= start < header.frames:
            raise DataError(
                f"The excerpt starts at {start_seconds:g} s, outside the audio",
                where=name,
                allowed=f"0 to {header.seconds:.3f} s",
            )
        wanted = header.frames - start
        if max_seconds is not None:
            wanted = min(wanted, max(1, round(max_seconds * header.sample_rate)))
        if wanted > cap_seconds * header.sample_rate:
            raise DataError(
                f"The audio claims {wanted / header.sample_rate:,.0f} s",
                where=name,
                allowed=f"at most {cap_seconds:,.0f} s",
                hint="cut the file, or read an excerpt of it with max_seconds",
            )
        samples = _decode(file, start=start, frames=wanted, name=name)
    if not np.isfinite(samples).all():
        bad = int(np.argwhere(~np.isfinite(samples))[0, 0])
        raise DataError(
            f"The audio holds a value that is not finite (NaN or infinity) at frame {start + bad}",
            where=name,
            hint="render or export the file again",
        )
    audio = torch.from_numpy(np.ascontiguousarray(rearrange(samples, "s a -> a s")))  # [A, S]
    return Waveform(audio=audio, sample_rate=header.sample_rate)


def encode(waveform: Waveform, *, format: str, provenance: Provenance | None, where: object = None) -> bytes:
    """Return the bytes of an audio file: ``format`` is wav, flac, ogg, opus or mp3; samples are clipped to -1..1.

    Raises InputError for an unknown format, a rate that the format does not have, or audio that is
    empty or not finite.
    """
    container, coding = _format(format, where)
    audio = waveform.audio.detach().to(device="cpu", dtype=torch.float32)
    if audio.ndim != 2 or audio.numel() == 0:
        raise InputError(f"Audio to write must be [A, S] and not empty, got {list(audio.shape)}", where=where)
    if not bool(torch.isfinite(audio).all()):
        raise InputError("Audio to write holds values that are not finite (NaN or infinity)", where=where)
    samples = rearrange(audio.clamp(-1.0, 1.0), "a s -> s a").numpy()
    buffer = io.BytesIO()
    try:
        with soundfile.SoundFile(
            buffer, "w", samplerate=waveform.sample_rate, channels=samples.shape[1], format=container, subtype=coding
        ) as file:
            if provenance is not None:
                file.comment = provenance.to_json()
                file.software = provenance.generator
            # libsndfile's Vorbis encoder overflows its stack on long writes: hand it short ones.
            for begin in range(0, len(samples), BLOCK_FRAMES):
                file.write(samples[begin : begin + BLOCK_FRAMES])
    except (soundfile.LibsndfileError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{format} does not hold {samples.shape[1]} channels at {waveform.sample_rate} Hz ({_reason(error)})",
            where=where,
            hint="resample the audio, or write wav or flac",
        ) from error
    return buffer.getvalue()


def write(path: str | os.PathLike[str], waveform: Waveform, *, provenance: Provenance | None) -> Path:
    """Write audio under ``path`` in the format of its extension, complete or not at all; returns the path.

    ``provenance`` has no default, so that nobody forgets it: generated audio carries its record in the
    file's comment tag; None states that the audio was not generated here (a corpus clip, an excerpt).
    Raises InputError for an unknown extension, unusable audio, or a folder without permission or space.
    """
    path = Path(path)
    extension = path.suffix.lower().lstrip(".")
    return write_bytes(path, encode(waveform, format=extension, provenance=provenance, where=path))


def read_provenance(source: Source, *, where: object = None) -> Provenance | None:
    """Return the record of origin that a file carries, or None where it carries none."""
    with _opened(source, where) as (file, _):
        return Provenance.from_json(file.comment)


@contextmanager
def _opened(source: Source, where: object) -> Iterator[tuple[soundfile.SoundFile, AudioInfo]]:
    """Open a source and check its header; errors of the decoder inside the block become DataError."""
    name = _name(source, where)
    if isinstance(source, bytes):
        handle: Any = io.BytesIO(source)
        size = len(source)
    else:
        # An absolute path, because libsndfile takes "-" for the standard input.
        handle = os.path.abspath(source)
        if not os.path.isfile(handle):
            raise DataError("No such audio file", where=name, hint="check the path")
        size = os.path.getsize(handle)
    if size == 0:
        raise DataError("The audio file has 0 bytes", where=name, hint="copy or render the file again")
    try:
        with soundfile.SoundFile(handle) as file:
            yield file, _checked_header(file, name)
    except CalmError:
        raise
    except (soundfile.LibsndfileError, RuntimeError, TypeError, OSError) as error:
        raise DataError(
            f"The audio cannot be decoded ({_reason(error)})",
            where=name,
            allowed=", ".join(FORMATS) + " and what else libsndfile reads",
            hint="the file may be damaged, cut short, or not audio: copy or convert it again",
        ) from error


def _checked_header(file: soundfile.SoundFile, name: object) -> AudioInfo:
    header = AudioInfo(
        frames=file.frames,
        sample_rate=file.samplerate,
        channels=file.channels,
        format=f"{file.format}/{file.subtype}",
    )
    if not MIN_SAMPLE_RATE <= header.sample_rate <= MAX_SAMPLE_RATE:
        raise DataError(
            f"The sample rate is {header.sample_rate} Hz",
            where=name,
            allowed=f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz",
        )
    if not 1 <= header.channels <= MAX_CHANNELS:
        raise DataError(f"The audio has {header.channels} channels", where=name, allowed=f"1 to {MAX_CHANNELS}")
    if header.frames <= 0:
        raise DataError("The audio is empty: 0 frames", where=name, hint="leave the file out or render it again")
    # libsndfile quietly shortens a file whose chunk of audio is longer than the file, and notes it in its log.
    shortened = re.search(_SHORTENED, file.extra_info, flags=re.MULTILINE)
    if shortened and int(shortened[2]) < int(shortened[1]) < UNKNOWN_WAV_LENGTH:
        raise DataError(
            f"The audio is cut short: {shortened[2]} of {shortened[1]} bytes are there",
            where=name,
            hint="copy the file again",
        )
    return header


def _decode(file: soundfile.SoundFile, *, start: int, frames: int, name: object) -> np.ndarray:
    """Return ``frames`` decoded frames, float32 [S, A]; a file that ends early is an error."""
    if start:
        file.seek(start)
    blocks: list[np.ndarray] = []
    missing, tolerated = frames, reckoned_tag_frames(file)
    while missing > 0:
        block = file.read(min(BLOCK_FRAMES, missing), dtype="float32", always_2d=True)
        if len(block) == 0 and blocks and missing <= tolerated:
            break
        if len(block) == 0:
            raise DataError(
                f"The audio is cut short: {frames - missing} of {frames} frames could be decoded",
                where=name,
                hint="copy the file again",
            )
        blocks.append(block)
        missing -= len(block)
    return np.concatenate(blocks)


def reckoned_tag_frames(file: soundfile.SoundFile) -> int:
    """Frames that an MP3 may lack: without a table, its length is reckoned from all bytes, the leading tag among them."""
    tag = re.search(r"ID3v2\S* header length :\s*(\d+)", file.extra_info)
    rate = re.search(r"bitrate\s*: (\d+) kbps", file.extra_info)
    if file.format != "MP3" or tag is None or rate is None or int(rate[1]) == 0:
        return 0
    return math.ceil(int(tag[1]) * 8 / (int(rate[1]) * 1000) * file.samplerate)


def _format(extension: str, where: object) -> tuple[str, str]:
    try:
        return FORMATS[extension.lower()]
    except KeyError:
        what = f"Unknown audio format '{extension}'" if extension else "The output needs an extension"
        guess = did_you_mean(extension, FORMATS) or ""
        raise InputError(f"{what}. {guess}".strip(), where=where, allowed=[f".{name}" for name in FORMATS]) from None


def _name(source: Source, where: object) -> object:
    if where is not None:
        return where
    return f"{len(source)} bytes of audio" if isinstance(source, bytes) else source


def _reason(error: Exception) -> str:
    """Return the decoder's own words, without the address of a buffer that it may name."""
    return str(getattr(error, "error_string", "") or error).strip(" .") or type(error).__name__
