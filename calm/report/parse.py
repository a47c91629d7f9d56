"""From result files to records, checked once: a file may come from anybody, and its paths from another machine."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calm.errors import DataError
from calm.evaluation.manifest import Manifest, ManifestItem, read_manifest
from calm.report.records import Board, Cell, Clip, LoadedResults, Measure, Skipped, System
from calm.types import Task

__all__ = ["parse", "without_places"]

#: folders before a file's name: they belong to the machine that wrote the file, and not on a page
PLACES = re.compile(
    r"(?<![\w:/.])(?:file://|[A-Za-z]:(?=[\\/]))?[\\/](?:[^\\/\s\"']+[\\/])+|[A-Za-z]:\\(?:[^\\\s\"']+\\)*"
)
MAX_DIGITS = 9
#: keys of a source that are shown elsewhere, or are of this machine
UNTOLD = {"kind", "scope", "path"}


def parse(loaded: LoadedResults) -> Board:
    """Return the board of one result file. Raises DataError with the key of what cannot be used."""
    where = Path(loaded.folder)
    benchmark = _table(loaded.results, "benchmark", where)
    name = _text(benchmark, "name", where)
    protocol = without_places(_table(benchmark, "protocol", where, optional=True))
    systems = _table(loaded.results, "systems", where)
    columns = _columns(loaded.results, where)
    sha256 = benchmark.get("manifest_sha256") or None
    manifest, problem = _manifest(benchmark, sha256, loaded.folder)
    hardware = without_places(loaded.results.get("hardware") or {})
    return Board(
        name=name,
        title=protocol["title"] if isinstance(protocol.get("title"), str) else name,
        sha256=None if sha256 is None else str(sha256),
        items={
            Task.parse(task, where=f"{where}: benchmark.items"): int(_number(value, f"{where}: benchmark.items"))
            for task, value in _table(benchmark, "items", where, optional=True).items()
        },
        protocol=protocol,
        columns={measure.id: measure for measure in columns.values()},
        systems=tuple(
            _system(key, _table(systems, key, where), columns, loaded.folder, where=f"{where}: systems.{key}")
            for key in systems
        ),
        manifest=manifest,
        rejected=tuple(without_places(str(line)) for line in benchmark.get("rejected") or ()),
        notes=() if problem is None else (problem,),
        machines=(", ".join(f"{key} {value}" for key, value in hardware.items()),)
        if isinstance(hardware, dict)
        else (),
    )


def without_places(value: Any) -> Any:
    """JSON values with file names in the place of paths: those name people and machines."""
    if isinstance(value, str):
        return PLACES.sub("", value)
    if isinstance(value, Mapping):
        return {str(key): without_places(item) for key, item in value.items()}
    return [without_places(item) for item in value] if isinstance(value, list | tuple) else value


def _columns(results: Mapping[str, Any], where: object) -> dict[str, Measure]:
    found = {}
    metrics = _table(results, "metrics", where)
    kinds = [
        _table(_table(results["systems"], name, where), "source", where, optional=True) for name in results["systems"]
    ]
    published = bool(kinds) and all(source.get("kind") == "published" for source in kinds)
    columns = _table(results, "columns", where)
    for key in columns:
        place = f"{where}: columns.{key}"
        column = _table(columns, key, where)
        metric = str(column.get("metric") or "")
        how = metrics.get(metric) or {}
        if not isinstance(how, Mapping):
            raise DataError("The description of a metric is no table", where=f"{where}: metrics.{metric}")
        if column.get("better") not in ("lower", "higher"):
            raise DataError("A column does not say what is better", where=place, allowed="lower, higher")
        digits = int(_number(column.get("digits", 3), place))
        if not 0 <= digits <= MAX_DIGITS:
            raise DataError(f"'digits' is {digits}", where=place, allowed=f"0 to {MAX_DIGITS}")
        found[key] = Measure(
            id=_id(key, metric, how),
            key=key,
            label=str(column.get("label") or key),
            better=column["better"],
            digits=digits,
            unit=str(column.get("unit") or ""),
            metric=metric,
            how=without_places(how),
            published=published,
        )
    return found


def _id(key: str, metric: str, how: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([key, metric, how], sort_keys=True).encode()).hexdigest()[:16]


def _system(name: str, found: Mapping[str, Any], columns: Mapping[str, Measure], folder: Path, *, where: str) -> System:
    source = _table(found, "source", where, optional=True)
    told = {key: value for key, value in without_places(source).items() if key not in UNTOLD and value}
    figures = {}
    for task, row in _table(found, "figures", where, optional=True).items():
        if not isinstance(row, Mapping):
            raise DataError("The figures of a task are no table", where=f"{where}.figures.{task}")
        cells = {
            _measure(key, columns, where).id: _cell(cell, f"{where}.figures.{task}.{key}") for key, cell in row.items()
        }
        figures[Task.parse(task, where=f"{where}.figures")] = {
            key: cell for key, cell in cells.items() if cell is not None
        }
    items = _table(found, "items", where, optional=True)
    return System(
        name=name,
        kind=str(source.get("kind") or ""),
        scope=_scope(source),
        source="; ".join(value if isinstance(value, str) else f"{key} {value}" for key, value in told.items()),
        figures=figures,
        clips={key: _clip(_table(items, key, where), columns, folder, where=f"{where}.items.{key}") for key in items},
        skipped=_skipped(_table(found, "skipped", where, optional=True), where),
    )


def _scope(source: Mapping[str, Any]) -> str:
    """Modality-specific, unified, or what else the file says; a system of one task may be called by that task."""
    scope = str(source.get("scope") or "")
    return "modality-specific" if scope in set(Task) else scope


def _measure(key: str, columns: Mapping[str, Measure], where: object) -> Measure:
    if key not in columns:
        raise DataError(f"A figure has no column: '{key}'", where=where, allowed=columns)
    return columns[key]


def _cell(found: Any, where: str) -> Cell | None:
    if not isinstance(found, Mapping):
        raise DataError("A figure is no table", where=where, allowed='{"value", "low", "high", "count"}')
    parts = {key: found.get(key) for key in ("value", "low", "high", "count")}
    numbers = {key: None if value is None else _number(value, where) for key, value in parts.items()}
    if numbers["value"] is None:
        return None
    count = numbers.pop("count")
    return Cell(**numbers, count=None if count is None else int(count))


def _clip(found: Mapping[str, Any], columns: Mapping[str, Measure], folder: Path, *, where: str) -> Clip:
    audio = found.get("audio")
    if audio is not None and (not isinstance(audio, str) or "\0" in audio):
        raise DataError("'audio' is no path", where=where)
    scores = {columns[key].id: _number(found[key], where) for key in columns if found.get(key) is not None}
    return Clip(audio=folder / audio if audio else None, scores=scores)


def _skipped(found: Mapping[str, Any], where: str) -> Skipped:
    unscored = _table(found, "unscored", where, optional=True)
    return Skipped(
        missing=tuple(str(key) for key in found.get("missing") or ()),
        extra=tuple(str(key) for key in found.get("extra") or ()),
        unusable=without_places(_table(found, "unusable", where, optional=True)),
        unscored={metric: without_places(_table(unscored, metric, where)) for metric in unscored},
    )


def _manifest(benchmark: Mapping[str, Any], sha256: Any, folder: Path) -> tuple[dict[str, ManifestItem], str | None]:
    """The items, or why there are none. Clips belong to the list that was scored, not to one that changed since."""
    path = benchmark.get("manifest")
    if not isinstance(path, str) or not path or sha256 is None:
        return {}, None
    try:
        manifest: Manifest = read_manifest(Path(folder) / path, name=str(benchmark.get("name")))
    except (DataError, OSError, ValueError):
        return {}, "Its manifest is not where the result file says, so there is nothing to listen to."
    if manifest.sha256 != sha256:
        return {}, "Its manifest was changed since it was scored, so there is nothing to listen to."
    return {entry.item.id: entry for entry in manifest.items}, None


def _table(found: Mapping[str, Any], key: str, where: object, *, optional: bool = False) -> Mapping[str, Any]:
    value = found.get(key)
    if value is None and optional:
        return {}
    if not isinstance(value, Mapping):
        raise DataError(f"'{key}' is no table", where=where, hint="write the result file again")
    return value


def _text(found: Mapping[str, Any], key: str, where: object) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value:
        raise DataError(f"'{key}' is missing, or no text", where=where)
    return value


def _number(value: Any, where: object) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer of hundreds of digits
        pass
    raise DataError(f"{str(value)[:40]!r} is no finite number", where=where)
