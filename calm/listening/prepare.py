"""`prepare`: from a manifest and folders of clips to a folder that can be served."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from calm import audio
from calm.audio import AudioInfo
from calm.errors import CalmError, DataError, InputError
from calm.evaluation.manifest import Manifest, ManifestItem
from calm.listening.records import VOLUME, ListeningTest, Settings, Stimulus
from calm.listening.stimuli import in_form, loudness, match_loudness, spoil, volume_clip
from calm.listening.store import count_ratings, remove_store
from calm.types import TASKS, Task, Waveform

__all__ = ["prepare"]

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
#: clips of each task that are spoilt for attention checks
NUM_SPOILT = 4
MAX_SAMPLE_RATE, MAX_CHANNELS = 48_000, 2


@dataclass(kw_only=True)
class _Found:
    """What is there of one system: a file for each item, and what is not."""

    name: str
    folder: Path | None
    files: dict[str, Path] = field(default_factory=dict)
    headers: dict[str, AudioInfo] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)

    def drop(self, item: str, error: CalmError) -> None:
        self.unusable[item] = error.what
        self.files.pop(item, None)
        self.headers.pop(item, None)

    def record(self, kept: set[str]) -> dict[str, Any]:
        source = {"kind": "original"} if self.folder is None else {"kind": "folder", "path": str(self.folder.resolve())}
        skipped = {"missing": self.missing, "extra": self.extra, "unusable": self.unusable}
        return {"source": source, "skipped": skipped, "num_clips": len(kept)}


def prepare(
    manifest: Manifest,
    *,
    systems: Mapping[str, str | Path | None],
    folder: str | Path,
    settings: Settings | None = None,
) -> ListeningTest:
    """Prepare a listening test, or read it where the folder holds the very same.

    Every clip is decoded and written again as WAV (PCM 16) without any tag, under a random name. Within a task all have
    one sample rate (the highest among them, at most 48 kHz) and one number of channels (2 if any has 2). All clips of
    an item have one loudness, see `match_loudness`.

    Args:
        systems: name -> its folder of ``ID.wav`` (or .flac, .mp3, .ogg); None stands for the originals, the
            manifest's ``target`` files.
        folder: of the test; what it prepares stays there.
    Raises InputError for unusable arguments; DataError where no clip can be used, or the folder holds another test that
    listeners have rated.
    """
    folder, settings = Path(folder), settings or Settings()
    if not systems:
        raise InputError("A listening test needs a system", where="systems", hint="name a folder of clips")
    found = [_look(manifest, name, place) for name, place in systems.items()]
    fingerprint = _fingerprint(manifest, found, settings)
    kept = _existing(folder, fingerprint)
    if kept is not None:
        return kept
    remove_store(folder / "ratings.db")
    stale = list((folder / "audio").glob("*.wav"))
    rng = np.random.default_rng(settings.seed)
    test = ListeningTest(
        folder=folder, settings=settings, fingerprint=fingerprint, stimuli=(), benchmark=_benchmark(manifest), systems={}
    )
    stimuli = [stimulus for task in TASKS for stimulus in _prepare_task(test, manifest, found, task, rng)]
    if not any(stimulus.system for stimulus in stimuli):
        reasons = [f"{one.name}: {len(one.missing)} missing, {len(one.unusable)} unusable" for one in found]
        raise DataError("No system has a clip that can be used", where=folder, allowed="; ".join(reasons))
    audio.write(test.audio(VOLUME), volume_clip(lufs=settings.loudness_lufs), provenance=None)
    records = {one.name: one.record({s.item for s in stimuli if s.system == one.name}) for one in found}
    test = dataclasses.replace(test, stimuli=tuple(stimuli), systems=records)
    test.write()
    for path in stale:
        if path != test.audio(VOLUME):
            path.unlink(missing_ok=True)
    return test


def _look(manifest: Manifest, name: str, place: str | Path | None) -> _Found:
    """Find the files of one system and read their headers."""
    found = _Found(name=name, folder=None if place is None else Path(place))
    if found.folder is not None and not found.folder.is_dir():
        raise InputError("There is no such folder of clips", where=f"system {name}: {place}")
    there: dict[str, Path] = {}
    for path in sorted(found.folder.iterdir()) if found.folder else []:
        if path.suffix.lower() in SUFFIXES and path.is_file():
            there.setdefault(path.name[: -len(path.suffix)], path)
    for entry in manifest.items:
        key = entry.item.id
        path = entry.target if found.folder is None else there.pop(key, None)
        if path is None:
            found.missing.append(key)
            continue
        try:
            found.headers[key] = audio.info(path)
            found.files[key] = path
        except CalmError as error:
            found.drop(key, error)
    found.extra = sorted(path.name for path in there.values())
    return found


def _fingerprint(manifest: Manifest, systems: list[_Found], settings: Settings) -> str:
    sources = [
        [one.name, [[key, hashlib.sha256(path.read_bytes()).hexdigest()] for key, path in one.files.items()]]
        for one in systems
    ]
    parts = [manifest.sha256, dataclasses.asdict(settings), sources]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _existing(folder: Path, fingerprint: str) -> ListeningTest | None:
    """Return the test of the folder if it is the same and whole; refuse to replace one that was rated."""
    if (folder / "test.json").exists():
        test = ListeningTest.read(folder)
        names = [VOLUME, *(stimulus.name for stimulus in test.stimuli)]
        if test.fingerprint == fingerprint and all(test.audio(name).is_file() for name in names):
            return test
    number = count_ratings(folder / "ratings.db")
    if number:
        raise DataError(
            f"The folder holds another listening test, with {number} ratings",
            where=folder,
            allowed="the same manifest, clips and settings",
            hint="choose another folder, or go on with that test: calm listen -o FOLDER",
        )
    return None


def _prepare_task(
    test: ListeningTest, manifest: Manifest, systems: list[_Found], task: Task, rng: np.random.Generator
) -> Iterator[Stimulus]:
    entries = [entry for entry in manifest.items if entry.item.task == task]
    headers = [one.headers[e.item.id] for e in entries for one in systems if e.item.id in one.headers]
    if not headers:
        return
    form = {
        "sample_rate": min(MAX_SAMPLE_RATE, max(header.sample_rate for header in headers)),
        "channels": min(MAX_CHANNELS, max(header.channels for header in headers)),
        "max_seconds": test.settings.max_seconds,
    }
    to_spoil = {entries[index].item.id for index in rng.permutation(len(entries))[:NUM_SPOILT]}
    for entry in entries:
        clips = _decode(entry, systems, form)
        level = match_loudness(list(clips.values()), lufs=test.settings.loudness_lufs)
        for (one, _), clip in zip(clips.items(), level, strict=True):
            yield _keep(test, entry, clip, found=systems[one], system=systems[one].name)
        if entry.item.id in to_spoil and clips:
            # An original if there is one: what is spoilt must have been good.
            best = next((index for index in clips if systems[index].folder is None), min(clips))
            (clip,) = match_loudness([spoil(clips[best], rng=rng)], lufs=test.settings.loudness_lufs)
            yield _keep(test, entry, clip, found=systems[best], system=None)


def _decode(entry: ManifestItem, systems: list[_Found], form: Mapping[str, Any]) -> dict[int, Waveform]:
    """The item's clips by the number of their system; one that cannot be decoded is dropped with its reason."""
    clips = {}
    for index, one in enumerate(systems):
        if entry.item.id not in one.files:
            continue
        try:
            # A little more than is used, so that resampling meets no edge there.
            clip = audio.read(one.files[entry.item.id], max_seconds=form["max_seconds"] + 0.5)
        except CalmError as error:
            one.drop(entry.item.id, error)
            continue
        clips[index] = in_form(clip, **form)
    return clips


def _keep(test: ListeningTest, entry: ManifestItem, clip: Waveform, *, found: _Found, system: str | None) -> Stimulus:
    name = secrets.token_hex(16)
    header = found.headers[entry.item.id]
    # No record of origin here: it would tell listeners the system. The copies serve this test alone.
    audio.write(test.audio(name), clip, provenance=None)
    return Stimulus(
        name=name,
        task=entry.item.task,
        item=entry.item.id,
        text=entry.item.text,
        system=system,
        source=str(found.files[entry.item.id].resolve()),
        seconds=header.seconds,
        sample_rate=header.sample_rate,
        lufs=loudness(clip),
    )


def _benchmark(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "manifest": None if manifest.path is None else str(manifest.path.resolve()),
        "manifest_sha256": manifest.sha256,
        "items": manifest.counts(),
        "protocol": dict(manifest.protocol),
        "rejected": list(manifest.rejected),
    }
