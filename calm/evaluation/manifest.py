"""A manifest: what every system of an evaluation is asked for, in ``manifest.jsonl``, one item a line.

    {"id": "61-70968-0000", "task": "speech", "text": "He began a ...", "reference": "prompts/61.flac",
     "reference_text": "...", "target": "targets/61-70968-0000.flac", "seconds": 4.9, "labels": ["61"]}

``id``, ``task`` and ``text`` are required; paths are relative to the manifest. A system's clips are matched by id:
``ID.wav`` (or .flac, .mp3, .ogg) in its folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from calm.audio import write_bytes
from calm.errors import DataError, did_you_mean
from calm.metrics import Item
from calm.types import Task

__all__ = ["Manifest", "ManifestItem", "first_items", "item_record", "read_manifest", "spread", "write_manifest"]

ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
REQUIRED = ("id", "task", "text")
EXAMPLE = 'one JSON object a line, for example {"id": "a1", "task": "speech", "text": "Hello.", "target": "a1.flac"}'
KEYS = (*REQUIRED, "prompt", "reference", "reference_text", "target", "seconds", "labels")


@dataclass(frozen=True, kw_only=True)
class ManifestItem:
    """An item with the files that belong to it: the clip of the voice, the original recording."""

    item: Item
    reference: Path | None = None
    target: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A named list of items.

    Args:
        name: of the benchmark, for example ``seed_tts_en``.
        protocol: JSON values that figures depend on: list, source, prompt length, licence.
        path: the file it was read from, if any.
        rejected: lines that could not be used, each with its reason.
    """

    name: str
    items: tuple[ManifestItem, ...]
    protocol: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    rejected: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Hash of what is asked for, not of the audio and not of the place of the files."""
        lines = [_line(entry, None) for entry in self.items]
        return hashlib.sha256(json.dumps([self.name, lines], sort_keys=True).encode()).hexdigest()

    def counts(self) -> dict[str, int]:
        """Items of each task."""
        return dict(Counter(str(entry.item.task) for entry in self.items))


def read_manifest(path: str | Path, *, name: str | None = None) -> Manifest:
    """Read ``manifest.jsonl``, or a folder that holds one.

    A line that cannot be used is left out and named in ``rejected``. Raises DataError where no line can be used.
    """
    path = Path(path)
    path = path / "manifest.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise DataError("No such manifest", where=path, hint=EXAMPLE)
    items, rejected, seen = [], [], set()
    header: dict[str, Any] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            if number == 1 and isinstance(entry, dict) and "benchmark" in entry:
                json.dumps(entry, allow_nan=False)  # it goes into the result file
                header = entry
                continue
            found = _parse(entry, path.parent)
            if found.item.id in seen:
                raise DataError(f"The id '{found.item.id}' is there twice")
        except (ValueError, RecursionError) as error:  # our errors are ValueErrors too
            rejected.append(f"line {number}: {getattr(error, 'what', None) or error}")
            continue
        seen.add(found.item.id)
        items.append(found)
    if not items:
        raise DataError("The manifest has no item that can be used", where=path, allowed="; ".join(rejected[:3]) or None)
    return Manifest(
        name=name or str(header.get("benchmark") or path.parent.name or path.stem),
        items=tuple(items),
        protocol=header.get("protocol") if isinstance(header.get("protocol"), dict) else {},
        path=path,
        rejected=tuple(rejected),
    )


def write_manifest(manifest: Manifest, path: str | Path) -> Path:
    """Write a manifest whose files may lie anywhere: paths are relative where they lie below it, absolute elsewhere."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"benchmark": manifest.name, "protocol": dict(manifest.protocol)}]
    lines += [_line(entry, path.parent) for entry in manifest.items]
    return write_bytes(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())


def first_items(manifest: Manifest, limit: int | None) -> Manifest:
    """At most ``limit`` items of each task, spread evenly over the list; all where it is None."""
    if limit is None:
        return manifest
    chosen: set[str] = set()
    for task in Task:
        names = [entry.item.id for entry in manifest.items if entry.item.task is task]
        chosen |= {names[place] for place in spread(len(names), limit)}
    items = tuple(entry for entry in manifest.items if entry.item.id in chosen)
    limited = replace(manifest, items=items)
    counts = {"counts": limited.counts()} if "counts" in manifest.protocol else {}
    return replace(limited, protocol={**manifest.protocol, **counts, "limit": f"{limit} of each task, spread over the list"})


def spread(count: int, most: int) -> list[int]:
    """At most ``most`` places of ``count``, evenly spaced from the first on."""
    taken = min(most, count)
    return [number * count // taken for number in range(taken)]


def _parse(entry: Any, folder: Path) -> ManifestItem:
    if not isinstance(entry, dict):
        raise DataError("it is no JSON object")
    for key in entry:
        if key not in KEYS:
            raise DataError(f"unknown key '{key}'. {did_you_mean(key, KEYS) or ''} Allowed: {', '.join(KEYS)}")
    for key in REQUIRED:
        if not isinstance(entry.get(key), str):
            raise DataError(f"'{key}' is missing, or no text")
    for key in ("prompt", "reference", "reference_text", "target"):
        if not isinstance(entry.get(key, ""), str):
            raise DataError(f"'{key}' is no text")
    if ID.fullmatch(entry["id"]) is None:
        raise DataError(f"the id {entry['id']!r} is no file name: letters, digits, '_', '-', '.' and '+', at most 200")
    seconds, labels = entry.get("seconds"), entry.get("labels", [])
    if seconds is not None and not (isinstance(seconds, int | float) and 0 < seconds < float("inf")):
        raise DataError("'seconds' is no number above 0")
    if not (isinstance(labels, list) and all(isinstance(label, str) for label in labels)):
        raise DataError("'labels' is no list of texts")
    item = Item(
        id=entry["id"],
        task=Task.parse(entry["task"]),
        text=entry["text"],
        prompt=entry.get("prompt", ""),
        reference_text=entry.get("reference_text", ""),
        seconds=None if seconds is None else float(seconds),
        labels=tuple(labels),
    )
    files = {key: folder / entry[key] for key in ("reference", "target") if entry.get(key)}
    return ManifestItem(item=item, **files)


def item_record(item: Item) -> dict[str, Any]:
    """An item as JSON values."""
    found: dict[str, Any] = {"id": item.id, "task": str(item.task), "text": item.text, "prompt": item.prompt}
    return found | {"reference_text": item.reference_text, "seconds": item.seconds, "labels": list(item.labels)}


def _line(entry: ManifestItem, folder: Path | None) -> dict[str, Any]:
    found = item_record(entry.item)
    for key in ("reference", "target"):
        path: Path | None = getattr(entry, key)
        if path is not None:
            found[key] = path.name if folder is None else _relative(path, folder)
    return {key: value for key, value in found.items() if value not in ("", None, [])}


def _relative(path: Path, folder: Path) -> str:
    path, folder = path.resolve(), folder.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
