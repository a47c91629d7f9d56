"""The format of an audio file by its first bytes; an extension may lie."""

from __future__ import annotations

__all__ = ["format_of"]

MAGIC = {b"RIFF": "wav", b"fLaC": "flac", b"OggS": "ogg", b"ID3": "mp3"}
MAGIC |= {bytes([0xFF, second]): "mp3" for second in (0xF2, 0xF3, 0xFA, 0xFB)}


def format_of(data: bytes) -> str | None:
    """Return wav, flac, ogg or mp3; None where the first bytes are of no format known here."""
    return next((kind for magic, kind in MAGIC.items() if data.startswith(magic)), None)
