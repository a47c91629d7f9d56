"""A source file -> verified FLAC bytes. FLAC sources keep their bytes; rate and channels are never changed."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from calm import audio
from calm.errors import DataError

__all__ = ["FlacClip", "to_flac", "verify_audio"]

# Longer recordings are refused: they make shards that no window of draws can use well.
MAX_SECONDS = 4 * 3600.0
MAX_FLAC_CHANNELS = 8
MAX_FLAC_RATE = 655_350
# libsndfile subtype -> FLAC subtype that keeps all of it; everything lossy becomes 16 bit.
_DEPTH = {
    "PCM_24": "PCM_24",
    "PCM_32": "PCM_24",
    "FLOAT": "PCM_24",
    "DOUBLE": "PCM_24",
    "ALAC_20": "PCM_24",
    "ALAC_24": "PCM_24",
    "ALAC_32": "PCM_24",
}


@dataclass(frozen=True, kw_only=True)
class FlacClip:
    """FLAC bytes with their header; ``clipped`` counts samples above full scale that were cut to it."""

    data: bytes
    info: audio.AudioInfo
    clipped: int = 0


def verify_audio(data: bytes, where: object) -> audio.AudioInfo:
    """Decode every sample, block by block, and return the header; raises DataError for anything not sound."""
    header = audio.info(data, where=where)
    _limits(header, where)
    frames = 0
    for block in _blocks(io.BytesIO(data), where):
        frames += len(block)
        if not np.isfinite(block).all():
            raise DataError(f"The audio holds a value that is not finite before frame {frames}", where=where)
    return header


def to_flac(path: Path, *, where: object) -> FlacClip:
    """Read a source file of any format of libsndfile and return it as FLAC, fully decoded once to prove it.

    Raises DataError naming ``where`` for a file that is missing, unreadable, empty, cut short, too long or not finite.
    """
    name = f"{path} ({where})"
    header = audio.info(path, where=name)
    _limits(header, name)
    if header.format.startswith("FLAC/"):
        data = path.read_bytes()
        return FlacClip(data=data, info=verify_audio(data, name))
    buffer, clipped = io.BytesIO(), 0
    depth = _DEPTH.get(header.format.split("/")[1], "PCM_16")
    try:
        with soundfile.SoundFile(
            buffer, "w", samplerate=header.sample_rate, channels=header.channels, format="FLAC", subtype=depth
        ) as file:
            for block in _blocks(path, name):
                if not np.isfinite(block).all():
                    raise DataError("The audio holds a value that is not finite (NaN or infinity)", where=name)
                clipped += int((np.abs(block) > 1.0).sum())
                file.write(block.clip(-1.0, 1.0))
    except soundfile.LibsndfileError as error:
        raise DataError(f"The audio cannot be stored as FLAC ({error.error_string})", where=name) from error
    data = buffer.getvalue()
    return FlacClip(data=data, info=audio.info(data, where=name), clipped=clipped)


def _blocks(source: Path | io.BytesIO, where: object):
    """Decode block by block; raises DataError where the file ends before its header says."""
    # float64 holds 24-bit integers exactly, so PCM passes through unchanged.
    try:
        with soundfile.SoundFile(source) as file:
            missing = file.frames
            while len(block := file.read(1 << 16, dtype="float64", always_2d=True)):
                missing -= len(block)
                yield block
            if missing > audio.reckoned_tag_frames(file):
                there = f"{file.frames - missing:,} of {file.frames:,} frames are there"
                raise DataError(f"The audio is cut short: {there}", where=where, hint="copy or convert it again")
    except (soundfile.LibsndfileError, RuntimeError) as error:
        reason = getattr(error, "error_string", "") or error
        raise DataError(f"The audio cannot be decoded ({reason})", where=where, hint="copy or convert it again") from error


def _limits(header: audio.AudioInfo, where: object) -> None:
    if header.seconds > MAX_SECONDS:
        raise DataError(
            f"The audio claims {header.seconds:,.0f} s", where=where, allowed=f"at most {MAX_SECONDS:,.0f} s", hint="cut it"
        )
    if header.channels > MAX_FLAC_CHANNELS or header.sample_rate > MAX_FLAC_RATE:
        raise DataError(
            f"FLAC does not hold {header.channels} channels at {header.sample_rate} Hz",
            where=where,
            allowed=f"at most {MAX_FLAC_CHANNELS} channels and {MAX_FLAC_RATE} Hz",
        )
