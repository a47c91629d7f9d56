"""Systems of an evaluation: folders of finished audio, matched to the manifest by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from calm.errors import DataError, InputError
from calm.evaluation.log import read_log
from calm.evaluation.manifest import Manifest

__all__ = ["AUDIO_SUFFIXES", "ORIGINAL", "System", "check_names", "find_system", "original"]

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus")
#: name of the system whose clips are the manifest's own recordings
ORIGINAL = "original"


@dataclass(frozen=True, kw_only=True)
class System:
    """Clips of one system.

    Args:
        source: JSON values for the result file: ``kind`` (folder, model, original, reconstruction, baseline) and what it
            was made with.
        clips: file of each id; ids that are missing have none.
        extra: file names that belong to no item. doubled: ids with more than one file.
        logs: what the system wrote down about each clip (``seconds_taken``, ``first_audio_seconds``, ``nfe``).
    """

    name: str
    source: Mapping[str, Any]
    clips: Mapping[str, Path]
    extra: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    logs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def find_system(name: str, folder: str | Path, manifest: Manifest, *, source: Mapping[str, Any] | None = None) -> System:
    """List the audio files of a folder and match them to the manifest.

    Args:
        source: what made the clips, beside ``kind``; by default a folder of finished audio.
    Raises DataError where the folder is missing or no file belongs to an item, InputError where the name cannot be used.
    """
    check_names([name])
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("No such folder of audio", where=folder, hint="--system NAME=FOLDER, with files ID.wav")
    wanted = {entry.item.id for entry in manifest.items}
    clips: dict[str, Path] = {}
    extra, doubled = [], set()
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in AUDIO_SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem not in wanted:
            extra.append(path.name)
        elif path.stem in clips:
            doubled.add(path.stem)
        else:
            clips[path.stem] = path
    if not clips:
        some = ", ".join(sorted(wanted)[:3])
        raise DataError("No file belongs to an item of the manifest", where=folder, allowed=f"ID.wav, for example of {some}")
    kind = {"kind": "folder", "path": folder.as_posix()} if source is None else dict(source)
    return System(
        name=name, source=kind, clips=clips, extra=tuple(extra), doubled=tuple(sorted(doubled)), logs=_numbers(folder)
    )


def check_names(names: Sequence[str]) -> None:
    """Raise InputError where a system cannot be called so, or two are called alike."""
    for name in names:
        if not name or name == ORIGINAL or len(name) > 80 or not name.isprintable():
            raise InputError(
                f"A system cannot be called {name!r}", where="--system", allowed=f"1 to 80 characters, not '{ORIGINAL}'"
            )
        if names.count(name) > 1:
            raise InputError(f"Two systems are called '{name}'", where="--system", hint="NAME=FOLDER gives another name")


def original(manifest: Manifest) -> System | None:
    """The manifest's own recordings as a system, or None where it has none."""
    clips = {entry.item.id: entry.target for entry in manifest.items if entry.target is not None}
    return System(name=ORIGINAL, source={"kind": "original"}, clips=clips) if clips else None


def _numbers(folder: Path) -> dict[str, dict[str, float]]:
    """The numbers that a system wrote down about each clip."""
    return {
        id: {k: float(v) for k, v in entry.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        for id, entry in read_log(folder).items()
    }
