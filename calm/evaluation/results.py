"""The result file of an evaluation: one form for `calm evaluate`, the listening test and published figures.

    {"format": "calm-results-1",
     "benchmark": {"name", "manifest", "manifest_sha256", "items": {task: n}, "protocol": {...}, "rejected": [...]},
     "columns": {KEY: {"label", "better", "digits", "unit", "metric"}},
     "metrics": {METRIC: what it depends on: scorer, versions, hashes, rate, normaliser, settings},
     "systems": {NAME: {"source": {"kind": "folder | model | reconstruction | baseline | published | original", ...},
                        "figures": {task: {KEY: {"value", "low", "high", "count"}}},
                        "items": {ID: {"audio", "seconds", "sample_rate", KEY: value, ...}},
                        "seconds": of all clips, "sample_rates": {task: {rate: n}}, "other_rate": [ID],
                        "skipped": {"missing": [ID], "extra": [NAME], "unusable": {ID: reason},
                                    "unscored": {METRIC: {ID: reason}}}}},
     "reference_set": {"name", "manifest_sha256", "audio_sha256", "clips": {task: n}, "missing", "unusable"} or null,
     "notes": {"without_figures": {METRIC: reason}, "seed", "failed": {NAME: {ID: reason}}, ...},
     "hardware": {...}, "timings": {...}}

``low``, ``high`` and ``count`` of a published figure may be null. ``audio`` and ``manifest`` are paths relative to the
result file where they lie below its folder, absolute elsewhere. ``timings`` and ``hardware`` alone may differ between two
evaluations of the same audio.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from calm.audio import write_bytes
from calm.errors import DataError
from calm.metrics import Column, Figure

__all__ = ["FORMAT", "column_record", "figure_record", "read_results", "write_results"]

FORMAT = "calm-results-1"
SECTIONS = ("benchmark", "columns", "metrics", "systems")


def figure_record(figure: Figure) -> dict[str, float | int]:
    """A figure as JSON values, unrounded: files of two runs are compared bit for bit."""
    return {"value": figure.value, "low": figure.low, "high": figure.high, "count": figure.count}


def column_record(column: Column, *, metric: str) -> dict[str, Any]:
    return {**{key: value for key, value in vars(column).items() if key != "key"}, "metric": metric}


def write_results(results: dict[str, Any], path: Path) -> Path:
    """Write atomically. Raises ValueError where a value is not finite: a result file is plain JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": FORMAT, **results}, indent=1, ensure_ascii=False, allow_nan=False)
    return write_bytes(path, (text + "\n").encode())


def read_results(path: str | Path) -> dict[str, Any]:
    """Read and check the outer form. Raises DataError with what is missing."""
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = "there is none" if isinstance(error, FileNotFoundError) else str(error)
        hint = "`calm evaluate ... -o FOLDER` writes FOLDER/results.json"
        raise DataError(f"The result file cannot be read: {reason}", where=path, hint=hint) from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError("This is no result file", where=path, allowed=f"JSON with \"format\": \"{FORMAT}\"")
    for section in SECTIONS:
        if not isinstance(found.get(section), dict):
            raise DataError(f"The result file has no '{section}'", where=path, hint="write it again with `calm evaluate`")
    return found
