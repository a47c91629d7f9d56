"""The one door for audio that leaves the house: files and bytes that are handed to users say where they are from.

A comment tag, always; and, unless a flag turns them off, a watermark, a C2PA manifest and a signed sidecar. What was
turned off stands in the parts that remain. Files that stay inside (training samples, demos, the corpus) are written by
``calm.audio.write``, with the tag alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from calm import audio
from calm.audio import Provenance
from calm.errors import InputError
from calm.safety.consent import audio_sha256
from calm.safety.keys import credentials, signing_key
from calm.safety.manifest import FORMATS as MANIFEST_FORMATS
from calm.safety.manifest import sign_manifest
from calm.safety.marks import Mark, chosen_mark
from calm.safety.settings import ProvenanceSettings
from calm.safety.sidecar import make_sidecar, sidecar_path
from calm.types import Waveform

__all__ = ["OFF", "Published", "SignedAudio", "check_settings", "publish", "publish_bytes", "sign", "sign_and_write"]

SIGNED, OFF, NO_MARK = "signed", "turned off by flag", "none"
UNMARKABLE = "not possible: too short, or silent"


class SignedAudio(NamedTuple):
    """Bytes of an audio file and of its sidecar; None where the sidecar was turned off."""

    data: bytes
    sidecar: bytes | None


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where a file and its sidecar lie."""

    path: Path
    sidecar: Path | None


def publish(
    path: str | os.PathLike[str], waveform: Waveform, *, provenance: Provenance, settings: ProvenanceSettings | None = None
) -> Published:
    """Write audio that a user is given, in the format of the path's extension, whole or not at all.

    Args:
        path: the sidecar lies beside it, as ``FILE.provenance.json``.
        waveform: [A, S] in -1..1.
        provenance: from ``calm.safety.stamp``.
        settings: by default those of the user's folder, with all parts.

    Both files reach the disk under temporary names; then the sidecar takes its name, then the audio. A kill between
    the two leaves a sidecar without its audio (or beside the file that was there before, which `calm detect` then
    says), never audio without its sidecar.
    Raises InputError as ``calm.audio.write`` does, and ProvenanceError where keys cannot be made or used.
    """
    settings = ProvenanceSettings.load() if settings is None else settings
    return sign_and_write(path, waveform, provenance=provenance, settings=settings, mark=chosen_mark(settings, provenance.task))


def publish_bytes(
    waveform: Waveform, *, format: str, provenance: Provenance, settings: ProvenanceSettings | None = None
) -> SignedAudio:
    """The same for bytes, as a server sends them. ``format`` is wav, flac, ogg, opus or mp3.

    The sidecar is given out beside them. A stream that is sent while it grows has no end to sign: see
    ``calm.safety.streaming``.
    """
    settings = ProvenanceSettings.load() if settings is None else settings
    return sign(waveform, format=format, provenance=provenance, settings=settings, mark=chosen_mark(settings, provenance.task))


def check_settings(settings: ProvenanceSettings) -> None:
    """Raise now what ``publish`` would raise about keys and marks after minutes of generation; makes the first keys."""
    if "sidecar" in settings.parts:
        signing_key(settings)
    if "c2pa" in settings.parts:
        credentials(settings)
    chosen_mark(settings)


def sign_and_write(
    path: str | os.PathLike[str],
    waveform: Waveform,
    *,
    provenance: Provenance,
    settings: ProvenanceSettings,
    mark: Mark | None,
) -> Published:
    """``publish`` with the mark at hand; None for none."""
    path = Path(path)
    format = path.suffix.lower().lstrip(".")
    signed = sign(waveform, format=format, provenance=provenance, settings=settings, mark=mark, where=path)
    beside = sidecar_path(path)
    if signed.sidecar is None:
        _remove(beside)  # an earlier file's: it would say that this one was changed
        return Published(path=audio.write_bytes(path, signed.data), sidecar=None)
    audio.write_together({beside: signed.sidecar, path: signed.data})
    return Published(path=path, sidecar=beside)


def sign(
    waveform: Waveform,
    *,
    format: str,
    provenance: Provenance,
    settings: ProvenanceSettings,
    mark: Mark | None,
    where: object = None,
) -> SignedAudio:
    """``publish_bytes`` with the mark at hand; None for none."""
    watermark = NO_MARK
    if mark is not None:
        marked = mark.embed(waveform)
        watermark = UNMARKABLE if torch.equal(marked.audio, waveform.audio) else settings.watermark
        waveform = marked
    said = dataclasses.replace(provenance, **_statements(format.lower(), settings=settings, watermark=watermark))
    data = audio.encode(waveform, format=format, provenance=said, where=where)
    if said.c2pa == SIGNED:
        data = sign_manifest(data, format=format.lower(), provenance=said, credentials=credentials(settings))
    if said.sidecar != SIGNED:
        return SignedAudio(data, None)
    return SignedAudio(data, make_sidecar(_record(data, said, format=format.lower()), key=signing_key(settings)))


def _statements(format: str, *, settings: ProvenanceSettings, watermark: str) -> dict[str, str]:
    """What the record says of each part."""
    c2pa = SIGNED if format in MANIFEST_FORMATS else f"not supported by {format}"
    said = {"sidecar": SIGNED, "c2pa": c2pa, "watermark": watermark}
    return {part: text if part in settings.parts else OFF for part, text in said.items()}


def _record(data: bytes, provenance: Provenance, *, format: str) -> dict[str, Any]:
    header = audio.info(data)
    return {
        **dataclasses.asdict(provenance),
        "format": format,
        "sample_rate": header.sample_rate,
        "channels": header.channels,
        "frames": header.frames,
        "audio_sha256": audio_sha256(data),
        "file_sha256": hashlib.sha256(data).hexdigest(),
    }




def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"An earlier sidecar cannot be removed ({error.strerror})", where=path) from error
