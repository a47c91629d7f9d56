"""Waveforms in and out: files, channels, rates, levels and mel spectrograms."""

from __future__ import annotations

from calm.audio.files import write_bytes, write_together
from calm.audio.formats import format_of
from calm.audio.io import AudioInfo, encode, info, read, read_provenance, reckoned_tag_frames, write
from calm.audio.pcm import to_pcm
from calm.audio.provenance import Provenance
from calm.audio.transforms import (
    fit,
    level_dbfs,
    mel_filterbank,
    mel_spectrogram,
    peak_normalize,
    resample,
    set_level,
    to_channels,
)

__all__ = [
    "AudioInfo",
    "Provenance",
    "encode",
    "fit",
    "format_of",
    "info",
    "level_dbfs",
    "mel_filterbank",
    "mel_spectrogram",
    "peak_normalize",
    "read",
    "read_provenance",
    "reckoned_tag_frames",
    "resample",
    "set_level",
    "to_channels",
    "to_pcm",
    "write",
    "write_bytes",
    "write_together",
]
