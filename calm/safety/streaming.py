"""What can be said of audio that is sent while it grows: a tag at its start, and a signed record once it has ended."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from calm.audio import Provenance
from calm.safety.keys import signing_key
from calm.safety.marks import chosen_mark
from calm.safety.publishing import OFF, UNMARKABLE
from calm.safety.samples import SampleHash, audio_sha256
from calm.safety.settings import ProvenanceSettings
from calm.safety.sidecar import make_sidecar

__all__ = ["StreamMark", "StreamedAudio", "open_mark"]

#: formats whose samples are sent as they are; others are decoded at the end, as a reader would
LOSSLESS = ("wav", "pcm")
NO_MANIFEST, NO_MARK = "not supported by a stream", "not in streams"


class StreamMark(Protocol):
    """An inaudible mark of one stream. It may hold samples back until it knows what follows; none are lost.

    ``changed``: whether anything is marked so far.
    """

    changed: bool

    def push(self, audio: Tensor) -> Tensor:
        """Take samples [A, S]; return those that are now marked, [A, S'] with S' from 0 on."""
        ...

    def finish(self) -> Tensor:
        """The rest [A, S']."""
        ...


def open_mark(settings: ProvenanceSettings, *, task: str, sample_rate: int, channels: int) -> StreamMark | None:
    """The mark for a stream of audio with this rate and these channels; None where it is turned off, or works on whole
    clips only."""
    open_stream = getattr(chosen_mark(settings, task), "stream", None)
    return None if open_stream is None else open_stream(sample_rate=sample_rate, channels=channels)


class StreamedAudio:
    """One stream: ``update`` with every piece, and in the end ``sidecar``.

    Args:
        provenance: from ``calm.safety.stamp``.
        format: wav, pcm, mp3, opus or ogg.
        sample_rate, channels: of what is sent.
        settings: parts and keys.
        mark: from ``open_mark``; what it returns is encoded.
        record: where the signed record can be had, for the tag.
    """

    def __init__(
        self,
        provenance: Provenance,
        *,
        format: str,
        sample_rate: int,
        channels: int,
        settings: ProvenanceSettings,
        mark: StreamMark | None,
        record: str,
    ) -> None:
        # What the tag promises is not known yet; the record at the end says what came of it.
        watermark = NO_MARK if mark is None else f"{settings.watermark}, where there is sound"
        self._mark = mark
        said = {"sidecar": record, "c2pa": NO_MANIFEST, "watermark": watermark}
        said = {part: text if part in settings.parts else OFF for part, text in said.items()}
        #: the record of origin, for the tag at the start
        self.provenance = dataclasses.replace(provenance, **said)
        self._format, self._rate, self._channels, self._settings = format, sample_rate, channels, settings
        self._samples = SampleHash(sample_rate=sample_rate, channels=channels)
        self._bytes, self._lossy, self._frames = hashlib.sha256(), bytearray(), 0

    def update(self, pcm: NDArray[np.int16], data: bytes) -> None:
        """Take note of samples [S, A] that were encoded, and of bytes that are sent."""
        self._frames += len(pcm)
        self._bytes.update(data)
        if self._format in LOSSLESS:
            self._samples.update(pcm)
        else:
            self._lossy += data

    def sidecar(self, **said: Any) -> bytes | None:
        """The signed record of all that was sent, as a published file's; None where it is turned off.

        ``said``: further entries, for example how the clip ended. The bytes that were sent, saved as a file, and this
        beside them are what ``calm detect`` expects.
        """
        if "sidecar" not in self._settings.parts:
            return None
        record = {
            **dataclasses.asdict(self.provenance),
            "watermark": self._watermark(),
            "format": self._format,
            "sample_rate": self._rate,
            "channels": self._channels,
            "frames": self._frames,
            "audio_sha256": audio_sha256(bytes(self._lossy)) if self._lossy else self._samples.hexdigest(),
            "file_sha256": self._bytes.hexdigest(),
            **said,
        }
        return make_sidecar(record, key=signing_key(self._settings))

    def _watermark(self) -> str:
        if self._mark is None:
            return self.provenance.watermark
        return self._settings.watermark if self._mark.changed else UNMARKABLE
