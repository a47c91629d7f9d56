"""Clips that others send: looked at before they are decoded, and decoded within a cap."""

from __future__ import annotations

import base64
import binascii
import re

from calm import audio
from calm.errors import CalmError, InputError
from calm.types import Waveform

__all__ = ["decode_base64", "read_clip", "suffix_of"]

DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+(;[\w=.+-]+)*;base64,", re.ASCII)
MAX_RATE, MAX_CHANNELS = 192_000, 2


def decode_base64(text: str, *, param: str) -> bytes:
    """The bytes of base64, or of a ``data:`` URL with base64. Raises InputError where it is neither."""
    head = DATA_URL.match(text)
    try:
        return base64.b64decode(text[head.end() :] if head else text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("The clip is not base64", where=param, allowed="base64, or data:audio/wav;base64,...") from None


def suffix_of(data: bytes, *, param: str) -> str:
    """The extension that fits the first bytes: wav, flac, ogg or mp3. Raises InputError for anything else.

    So decoders of rarer formats are not reached.
    """
    if not data:
        raise InputError("The clip has 0 bytes", where=param)
    if (suffix := audio.format_of(data)) is None:
        raise InputError("The clip is not audio of a known format", where=param, allowed="WAV, FLAC, Ogg, MP3")
    return suffix


def read_clip(data: bytes, *, max_seconds: float, param: str) -> Waveform:
    """Decode a clip of at most ``max_seconds``.

    What the header says is checked first, so that a few bytes that would become hours are never decoded; and no more
    is decoded than the header says.
    Raises InputError that names ``param`` for anything but a readable, short enough clip.
    """
    suffix_of(data, param=param)
    try:
        header = audio.info(data, where=param)
        _check(header, max_seconds=max_seconds, param=param)
        return audio.read(data, cap_seconds=max_seconds + 1, where=param)
    except CalmError as error:
        raise InputError(error.what, where=param, allowed=error.allowed, hint=error.hint) from None


def _check(header: audio.AudioInfo, *, max_seconds: float, param: str) -> None:
    if header.seconds > max_seconds:
        length = f"{header.seconds:,.0f} s" if header.seconds < 1e9 else "a length that its header does not tell"
        raise InputError(f"The clip has {length}", where=param, allowed=f"at most {max_seconds:g} s")
    if header.channels > MAX_CHANNELS or header.sample_rate > MAX_RATE:
        raise InputError(
            f"The clip has {header.channels} channels at {header.sample_rate:,} Hz",
            where=param,
            allowed=f"at most {MAX_CHANNELS} channels and {MAX_RATE:,} Hz",
        )
