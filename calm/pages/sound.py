"""Audio files of a run as data URIs, small enough for one page."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from calm import audio
from calm.audio import Provenance
from calm.types import Waveform

__all__ = ["MAX_WAV_SECONDS", "PAGE_WAV_BYTES", "Sound", "load_sound", "to_mp3"]

#: a page whose WAV files are larger than this holds MP3 instead; both play in every browser
PAGE_WAV_BYTES = 7_000_000
#: longest clip that is embedded unchanged
MAX_WAV_SECONDS = 30.0
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A clip for a player: its samples, for pictures, and ``uri``, what the browser plays."""

    waveform: Waveform
    uri: str


def load_sound(path: Path, *, format: str) -> Sound:
    """Read a file and embed it as ``wav`` or ``mp3``; its record of origin goes along. Raises DataError."""
    waveform = audio.read(path)
    if format == "wav" and path.suffix.lower() == ".wav" and waveform.seconds <= MAX_WAV_SECONDS:
        return Sound(waveform=waveform, uri=_uri(path.read_bytes(), "audio/wav"))
    return Sound(waveform=waveform, uri=_uri(to_mp3(waveform, provenance=audio.read_provenance(path)), "audio/mpeg"))


def to_mp3(waveform: Waveform, *, provenance: Provenance | None) -> bytes:
    """Return an MP3 file of a clip, at the next higher rate that the format has; its record of origin goes along."""
    rate = next((rate for rate in MP3_RATES if rate >= waveform.sample_rate), MP3_RATES[-1])
    small = audio.resample(audio.to_channels(waveform, min(2, waveform.audio.shape[0])), rate)
    return audio.encode(small, format="mp3", provenance=provenance)


def _uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
