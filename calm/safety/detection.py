"""What a file says about its origin, who signed it, and whether it is as it was signed."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from calm import audio
from calm.audio import Provenance
from calm.errors import CalmError, DataError, ProvenanceError
from calm.safety.consent import audio_sha256
from calm.safety.keys import Trusted, trusted
from calm.safety.manifest import FORMATS as MANIFEST_FORMATS
from calm.safety.manifest import read_manifest
from calm.safety.marks import available_marks
from calm.safety.settings import ProvenanceSettings
from calm.safety.sidecar import read_sidecar, sidecar_path
from calm.types import Waveform

__all__ = ["Finding", "Report", "detect", "inspect"]

State = Literal["intact", "broken", "absent", "unsigned"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One part: the tag, the sidecar, C2PA, or a watermark.

    ``state`` is ``intact`` (there, and as it was signed; for a watermark: found), ``broken`` (there, and it does not
    fit), ``unsigned`` (a tag: anyone can write one) or ``absent``. ``known``: whether the signer is known here.
    """

    part: str
    state: State
    message: str
    signer: str | None = None
    known: bool | None = None
    says: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Report:
    """All findings on one file. ``state`` is ``broken`` where a part is, else ``intact`` where a part is, else ``nothing``."""

    file: str
    findings: tuple[Finding, ...]

    @property
    def state(self) -> Literal["intact", "broken", "nothing"]:
        states = {finding.state for finding in self.findings}
        return "broken" if "broken" in states else "intact" if "intact" in states else "nothing"

    @property
    def known(self) -> bool:
        """Whether there is a signature, and every one is by someone known here."""
        signed = [finding for finding in self.findings if finding.signer is not None]
        return bool(signed) and all(finding.known for finding in signed)

    def as_json(self) -> dict[str, Any]:
        return {"state": self.state, "known": self.known, **dataclasses.asdict(self)}


def detect(path: Path, *, trust: Iterable[Path] = (), settings: ProvenanceSettings | None = None) -> Report:
    """Look at a file and at the sidecar beside it.

    Args:
        trust: PEM files of keys and authorities to know, beside those of the user's folder.
    Raises DataError where the file cannot be read; a file that is no audio is a report, of a broken file.
    """
    path, beside = Path(path), sidecar_path(Path(path))
    try:
        data = path.read_bytes()
        sidecar = beside.read_bytes() if beside.is_file() else None
    except OSError as error:
        raise DataError(f"The file cannot be read ({error.strerror})", where=error.filename or path) from None
    known = trusted(ProvenanceSettings.load() if settings is None else settings, trust)
    return inspect(data, sidecar, name=str(path), known=known)


def inspect(data: bytes, sidecar: bytes | None, *, name: str, known: Trusted) -> Report:
    """The same for bytes. ``name`` is the file's; its extension counts where the first bytes tell no format."""
    waveform, why = None, ""
    try:
        waveform = audio.read(data, where=name)
    except CalmError as error:
        why = error.what
    format = audio.format_of(data) or Path(name).suffix.lower().lstrip(".")
    tag = _tag(data)
    beside = _sidecar_finding(data, sidecar, known=known, waveform=waveform, why=why, tag=tag)
    findings = [
        # Raw samples are no file that can be read, and may be just those that were signed.
        _tag_finding(tag, "" if beside.state == "intact" else why),
        beside,
        _manifest_finding(data, format=format, known=known, tag=tag),
        *_mark_findings(waveform, tag),
    ]
    return Report(file=name, findings=tuple(findings))


def _tag(data: bytes) -> Provenance | None:
    try:
        return audio.read_provenance(data)
    except CalmError:
        return None


def _tag_finding(tag: Provenance | None, why: str) -> Finding:
    if tag is not None:
        says = {name: value for name, value in dataclasses.asdict(tag).items() if value is not None}
        return Finding(part="tag", state="unsigned", message="there; anyone can write one", says=says)
    if why:
        return Finding(part="tag", state="broken", message=f"the audio cannot be read: {why}")
    return Finding(part="tag", state="absent", message="none")


def _sidecar_finding(
    data: bytes, sidecar: bytes | None, *, known: Trusted, waveform: Waveform | None, why: str, tag: Provenance | None
) -> Finding:
    if sidecar is None:
        message = "none beside the file" + (f" ({tag.sidecar}, says the tag)" if tag and tag.sidecar else "")
        return Finding(part="sidecar", state="absent", message=message)
    try:
        read = read_sidecar(sidecar)
    except ProvenanceError as error:
        return Finding(part="sidecar", state="broken", message=error.what)
    signer = f"{known.keys.get(read.fingerprint, 'a key that you do not know')} ({read.fingerprint})"
    about = {"signer": signer, "known": read.fingerprint in known.keys, "says": read.record}
    if read.record.get("file_sha256") == hashlib.sha256(data).hexdigest():
        return Finding(part="sidecar", state="intact", message=f"signed by {signer}", **about)
    same = waveform is not None and read.record.get("audio_sha256") == audio_sha256(waveform)
    if same and read.record.get("format") == "pcm":
        # Samples were sent without a file around them: whoever saved them chose one.
        return Finding(part="sidecar", state="intact", message=f"the samples are signed by {signer}", **about)
    if waveform is None:
        message = f"the file was changed: {why}"
    elif same:
        message = "the samples are those that were signed, but the file around them was changed"
    else:
        message = "the samples are not those that were signed: the audio was changed, or this is another file's sidecar"
    return Finding(part="sidecar", state="broken", message=message, **about)


def _manifest_finding(data: bytes, *, format: str, known: Trusted, tag: Provenance | None) -> Finding:
    if format not in MANIFEST_FORMATS:
        return Finding(part="c2pa", state="absent", message=f"not supported by {format or 'this format'}")
    try:
        manifest = read_manifest(data, format=format, authorities=known.certificates)
    except ProvenanceError as error:
        return Finding(part="c2pa", state="broken", message=error.what)
    if manifest is None:
        if tag is not None and tag.c2pa == "signed":
            return Finding(part="c2pa", state="broken", message="removed: the tag says that there was a manifest")
        return Finding(part="c2pa", state="absent", message=f"none ({tag.c2pa}, says the tag)" if tag and tag.c2pa else "none")
    by = f"'{manifest.signer}', {'an authority that you know' if manifest.trusted else 'an authority that you do not know'}"
    about = {"signer": by, "known": manifest.trusted, "says": manifest.says}
    if manifest.problems:
        return Finding(part="c2pa", state="broken", message=f"does not fit the file: {', '.join(manifest.problems)}", **about)
    return Finding(part="c2pa", state="intact", message=f"signed by {by}", **about)


def _mark_findings(waveform: Waveform | None, tag: Provenance | None) -> list[Finding]:
    marks = available_marks() if waveform is not None else {}
    if not marks:
        why = "no audio to look in" if waveform is None else "no mark is known here"
        return [Finding(part="watermark", state="absent", message=f"not looked for: {why}")]
    findings = []
    for name, mark in marks.items():
        try:
            seen = mark.detect(waveform)
        except CalmError as error:  # a clip that is too short for it, say
            findings.append(Finding(part="watermark", state="absent", message=f"'{name}' not looked for: {error.what}"))
            continue
        score = f"score {seen.score:.2f}, threshold {seen.threshold:.2f}"
        message = f"'{name}' found ({score})" if seen.found else f"'{name}' not found ({score})"
        if not seen.found and tag is not None and tag.watermark == name:
            message += ", though the tag names it"
        says = {"name": name, "score": float(seen.score), "threshold": float(seen.threshold)}
        findings.append(Finding(part="watermark", state="intact" if seen.found else "absent", message=message, says=says))
    return findings
