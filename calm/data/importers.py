"""What lies in a folder -> entries: manifests of people's own data (AudioFolder, jsonl, CSV), or a public set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from calm.data.layouts import LAYOUTS, LeftOut, ManifestEntry, read_layout, recognise
from calm.data.layouts.base import read_table, read_text
from calm.data.schema import MAX_CHARACTERS
from calm.errors import DataError, InputError, did_you_mean
from calm.text.phrases import MAX_VOICE_CHARS
from calm.types import TASKS, Task

__all__ = ["FORMATS", "Listing", "ManifestEntry", "find_splits", "read_manifest", "read_source"]

PATH_COLUMNS = ("file_name", "audio_file", "audio", "path")
TEXT_COLUMNS = ("text", "caption", "transcription", "transcript", "sentence")
MANIFEST_NAMES = ("metadata.jsonl", "metadata.csv")
# Measured again from the audio itself, so what a manifest says about them is not carried on.
MEASURED = ("duration", "sample_rate", "channels", "num_samples", "frames")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a source names: the entries in their order, and what cannot be used; ``layout`` is how it was read."""

    layout: str
    entries: tuple[ManifestEntry, ...]
    left_out: tuple[LeftOut, ...]


def read_source(
    source: str | Path,
    *,
    task: str | None = None,
    layout: str | None = None,
    outside: Literal["refuse", "allow"] = "refuse",
) -> Listing:
    """List a public set in its own layout, or a folder with manifests; entries carry their split.

    Args:
        source: a folder, a manifest, or a set's table.
        task: task of rows of a manifest that name none; a public set has its own.
        layout: a name of ``LAYOUTS`` or ``FORMATS``; by default found from what is there, public sets first.
        outside: whether audio may lie outside the folder.
    Raises DataError (nothing there that can be read) or InputError (arguments).
    """
    source = Path(source)
    allowed = [*(name for name in FORMATS if name != "any"), *LAYOUTS]
    if layout is not None and layout not in allowed:
        guess = did_you_mean(layout, allowed) or ""
        raise InputError(f"Unknown layout '{layout}'. {guess}".strip(), where="--layout", allowed=allowed)
    if not source.exists():
        raise DataError("No such file or folder", where=source, hint="check the path")
    public = recognise(source) if layout is None else LAYOUTS.get(layout)
    if public is None:
        splits = find_splits(source) or {"": source}
        entries = tuple(
            replace(entry, split=split)
            for split, folder in splits.items()
            for entry in read_manifest(folder, task=task, format_=layout, outside=outside)
        )
        return Listing(layout=layout or "manifest", entries=entries, left_out=())
    if task is not None and Task.parse(task, where="--task") is not public.task:
        raise InputError(f"{public.name} is {public.task}, not {task}", where="--task", hint="leave --task out")
    items = list(read_layout(public, source, outside=outside))
    return Listing(
        layout=public.name,
        entries=tuple(item for item in items if isinstance(item, ManifestEntry)),
        left_out=tuple(item for item in items if isinstance(item, LeftOut)),
    )


def read_manifest(
    source: str | Path,
    *,
    task: str | None = None,
    format_: str | None = None,
    outside: Literal["refuse", "allow"] = "refuse",
) -> Iterator[ManifestEntry]:
    """Yield the entries of a folder or of a manifest file, in their order.

    Args:
        source: a folder with ``metadata.jsonl`` or ``metadata.csv`` (or one other .jsonl or .csv file), or a manifest.
        task: task of the entries that name none.
        format_: one of ``FORMATS``; by default found from what is there.
        outside: whether audio may lie outside the manifest's folder (absolute paths, ``..``, links).
    Raises DataError with ``file:line`` for a row that cannot be used.
    """
    default = Task.parse(task, where="--task") if task is not None else None
    manifest = find_manifest(Path(source), format_)
    root = manifest.parent.resolve()
    rows = _jsonl_rows if manifest.suffix == ".jsonl" else read_table
    empty = True
    for line, row in rows(manifest):
        empty = False
        yield _entry(row, root=root, default=default, where=f"{manifest}:{line}", outside=outside)
    if empty:
        raise DataError("The manifest lists no clips", where=manifest)


def find_splits(source: str | Path) -> dict[str, Path]:
    """Return ``{name: folder}`` of the subfolders that have a manifest of their own, where ``source`` has none."""
    folder = Path(source)
    if not folder.is_dir() or any((folder / name).is_file() for name in MANIFEST_NAMES):
        return {}
    inner = sorted(p for p in folder.iterdir() if p.is_dir() and any((p / name).is_file() for name in MANIFEST_NAMES))
    return {p.name: p for p in inner}


def find_manifest(source: Path, format_: str | None = None) -> Path:
    """Return the manifest file of ``source``; raises DataError with what was looked for."""
    if format_ is not None and format_ not in FORMATS:
        raise InputError(
            f"Unknown format '{format_}'. {did_you_mean(format_, FORMATS) or ''}".strip(), where="format_", allowed=FORMATS
        )
    if not source.exists():
        raise DataError("No such file or folder", where=source, hint="check the path")
    if source.is_file():
        suffixes = _SUFFIXES[format_ or "any"]
        if source.suffix not in suffixes:
            raise DataError(f"'{source.name}' is not a manifest", where=source, allowed=suffixes)
        return source
    return FORMATS[format_ or "any"](source)


def _audiofolder(folder: Path) -> Path:
    for name in MANIFEST_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise _no_manifest(folder, MANIFEST_NAMES)


def _single(suffix: str) -> Callable[[Path], Path]:
    def find(folder: Path) -> Path:
        found = sorted(folder.glob(f"*{suffix}"))
        if len(found) != 1:
            raise _no_manifest(folder, [f"exactly one *{suffix} file (found {len(found)})"])
        return found[0]

    return find


def _any(folder: Path) -> Path:
    found = [folder / name for name in MANIFEST_NAMES if (folder / name).is_file()]
    found = found or sorted(p for p in folder.iterdir() if p.suffix in _SUFFIXES["any"])
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(p.name for p in found)
        raise DataError("Several manifests in one folder", where=folder, allowed=names, hint="give the manifest's path")
    raise _no_manifest(folder, [*MANIFEST_NAMES, "one *.jsonl or *.csv"])


def _no_manifest(folder: Path, wanted: Any) -> DataError:
    return DataError(
        "The folder has no manifest",
        where=folder,
        allowed=wanted,
        hint='write metadata.jsonl: one {"file_name": ..., "task": ..., "text": ...} a line; or name a public set\'s '
        f"layout by --layout: {', '.join(LAYOUTS)}",
    )


#: format -> how the manifest of a folder is found
FORMATS: dict[str, Callable[[Path], Path]] = {
    "any": _any,
    "audiofolder": _audiofolder,
    "jsonl": _single(".jsonl"),
    "csv": _single(".csv"),
}
_SUFFIXES = {"any": (".jsonl", ".csv"), "audiofolder": (".jsonl", ".csv"), "jsonl": (".jsonl",), "csv": (".csv",)}


def _jsonl_rows(manifest: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(read_text(manifest).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
            json.dumps(row, allow_nan=False)
        except (ValueError, RecursionError) as error:
            raise DataError(f"The line is not JSON ({error})", where=f"{manifest}:{line}") from error
        if not isinstance(row, dict):
            raise DataError("The line is not a JSON object", where=f"{manifest}:{line}", allowed='{"file_name": ..., ...}')
        yield line, row


def _entry(row: dict[str, Any], *, root: Path, default: Task | None, where: str, outside: str) -> ManifestEntry:
    row = {key: value for key, value in row.items() if value is not None and key not in MEASURED}
    name = _take(row, PATH_COLUMNS, where, "names no audio file")
    if "\0" in name:
        raise DataError(f"The audio file {name!r} holds a zero character, which no path can", where=where)
    text = _take(row, TEXT_COLUMNS, where, "has no text")
    if len(text) > MAX_CHARACTERS:
        allowed = f"at most {MAX_CHARACTERS:,} characters"
        raise DataError(f"The text has {len(text):,} characters", where=where, allowed=allowed, hint="cut the recording by sentences")
    task = _task(row.pop("task", None), default, where)
    if task is Task.SPEECH and not any(character.isalnum() for character in text):
        raise DataError(f"The transcript {text!r} has no letter and no digit", where=where)
    path = _inside(root, name, where) if outside == "refuse" else root / name
    attributes = row.pop("attributes", {})
    if not isinstance(attributes, dict):
        raise DataError("`attributes` must be an object", where=where)
    wordings = row.pop("wordings", ())
    if not isinstance(wordings, list | tuple) or not all(isinstance(w, str) and w.strip() for w in wordings):
        raise DataError("`wordings` must be a list of texts that are not empty", where=where)
    if task is Task.SPEECH and any(len(wording) > MAX_VOICE_CHARS for wording in wordings):
        raise DataError("`wordings` of speech describe the voice", where=where, allowed=f"{MAX_VOICE_CHARS} characters each")
    speaker, language = (str(v) if (v := row.pop(key, None)) is not None else None for key in ("speaker", "language"))
    return ManifestEntry(
        path=path,
        name=name,
        task=task,
        text=text,
        where=where,
        speaker=speaker or None,
        language=language or None,
        attributes={**row, **attributes},
        wordings=tuple(wordings),
    )


def _take(row: dict[str, Any], columns: tuple[str, ...], where: str, complaint: str) -> str:
    """Remove and return the first of ``columns`` that the row has, as a non-empty string."""
    for column in columns:
        if column in row:
            value = row.pop(column)
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"`{column}` must be a text that is not empty, not {value!r}", where=where)
            return value
    guess = next((g for key in row if (g := did_you_mean(key, columns))), None)
    raise DataError(f"The row {complaint}", where=where, allowed=f"one of the columns {', '.join(columns)}", hint=guess)


def _task(name: Any, default: Task | None, where: str) -> Task:
    if name is None:
        if default is None:
            raise DataError("The row names no task", where=where, allowed=TASKS, hint="add a `task` column, or pass --task")
        return default
    try:
        return Task.parse(name)
    except InputError as error:
        raise DataError(error.what, where=where, allowed=TASKS) from None


def _inside(root: Path, name: str, where: str) -> Path:
    path = (root / name).resolve()
    if Path(name).is_absolute() or not path.is_relative_to(root):
        raise DataError(
            f"The audio file '{name}' lies outside the manifest's folder",
            where=where,
            allowed=f"paths inside {root}",
            hint="move the file into the folder, or pack in Python with outside='allow' if you trust the manifest",
        )
    return path
