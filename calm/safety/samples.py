"""The hash that a clip is known by, whatever file it lies in."""

from __future__ import annotations

import hashlib
import os

import numpy as np
from numpy.typing import NDArray

from calm.audio import read, to_pcm
from calm.types import Waveform

__all__ = ["Audio", "SampleHash", "audio_sha256"]

Audio = str | os.PathLike[str] | bytes | Waveform


class SampleHash:
    """SHA-256 of samples that come in pieces, with their rate (Hz) and number of channels."""

    def __init__(self, *, sample_rate: int, channels: int) -> None:
        self._digest = hashlib.sha256(f"{sample_rate} Hz, {channels} channels\n".encode())

    def update(self, pcm: NDArray[np.int16]) -> None:
        """Take 16-bit samples [S, A]."""
        self._digest.update(np.ascontiguousarray(pcm.astype("<i2")).tobytes())

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def audio_sha256(audio: Audio) -> str:
    """Return the SHA-256 of a clip's decoded samples, rounded to 16 bits, with its rate and channels.

    Samples rather than file bytes, so that a copy in another lossless format or with other tags still
    matches; resampled, mixed down or cut audio is another clip, as is one re-encoded with loss.
    """
    waveform = audio if isinstance(audio, Waveform) else read(audio)
    digest = SampleHash(sample_rate=waveform.sample_rate, channels=waveform.audio.shape[0])
    digest.update(to_pcm(waveform))
    return digest.hexdigest()
