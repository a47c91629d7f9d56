"""Manifests of people's own data -> entries: Hugging Face AudioFolder, jsonl, CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from calm.errors import DataError, InputError, did_you_mean
from calm.types import TASKS, Task

__all__ = ["FORMATS", "ManifestEntry", "find_splits", "read_manifest"]

PATH_COLUMNS = ("file_name", "audio_file", "audio", "path")
TEXT_COLUMNS = ("text", "caption", "transcription", "transcript", "sentence")
MANIFEST_NAMES = ("metadata.jsonl", "metadata.csv")
# Measured again from the audio itself, so what a manifest says about them is not carried on.
MEASURED = ("duration", "sample_rate", "channels", "num_samples", "frames")


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One clip of a manifest. ``where`` is ``manifest:line``; ``name`` is the path as the manifest gives it."""

    path: Path
    name: str
    task: Task
    text: str
    where: str
    speaker: str | None = None
    language: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


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
    rows = _jsonl_rows if manifest.suffix == ".jsonl" else _csv_rows
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
        hint='write metadata.jsonl: one {"file_name": ..., "task": ..., "text": ...} a line',
    )


#: format -> how the manifest of a folder is found
FORMATS: dict[str, Callable[[Path], Path]] = {
    "any": _any,
    "audiofolder": _audiofolder,
    "jsonl": _single(".jsonl"),
    "csv": _single(".csv"),
}
_SUFFIXES = {"any": (".jsonl", ".csv"), "audiofolder": (".jsonl", ".csv"), "jsonl": (".jsonl",), "csv": (".csv",)}


def _text(manifest: Path) -> str:
    try:
        return manifest.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The manifest cannot be read ({error})", where=manifest, allowed="UTF-8 text") from error


def _jsonl_rows(manifest: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(_text(manifest).split("\n"), start=1):
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


def _csv_rows(manifest: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    text = _text(manifest)
    header = text.split("\n", 1)[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="|" if "|" in header else ",")
    try:
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    "The row has more or fewer cells than the header",
                    where=f"{manifest}:{reader.line_num}",
                    allowed=f"{len(reader.fieldnames or ())} cells: {', '.join(reader.fieldnames or ())}",
                    hint="quote cells that hold the delimiter",
                )
            yield reader.line_num, {key.strip(): value.strip() for key, value in row.items() if value.strip()}
    except csv.Error as error:
        raise DataError(f"The CSV cannot be read ({error})", where=f"{manifest}:{reader.line_num}") from error


def _entry(row: dict[str, Any], *, root: Path, default: Task | None, where: str, outside: str) -> ManifestEntry:
    row = {key: value for key, value in row.items() if value is not None and key not in MEASURED}
    name = _take(row, PATH_COLUMNS, where, "names no audio file")
    text = _take(row, TEXT_COLUMNS, where, "has no text")
    task = _task(row.pop("task", None), default, where)
    if task is Task.SPEECH and not any(character.isalnum() for character in text):
        raise DataError(f"The transcript {text!r} has no letter and no digit", where=where)
    path = _inside(root, name, where) if outside == "refuse" else root / name
    attributes = row.pop("attributes", {})
    if not isinstance(attributes, dict):
        raise DataError("`attributes` must be an object", where=where)
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
