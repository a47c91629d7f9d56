"""Rows that were already measured: an evaluation that was stopped goes on from them.

One file per system, metric, process and start, a line per clip, appended as soon as it is measured. A line's key is a hash of
all that its rows depend on, so that a changed clip, item or setting is measured again.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Measured", "RowStore", "digest"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Rows float64 [n, W] of a clip, or the reason why there are none; seconds that it took."""

    rows: np.ndarray | None
    reason: str = ""
    seconds: float = 0.0


class RowStore:
    """Rows of one metric on one system.

    Args:
        folder: where the files of all processes lie; ``process`` is the number of this one.
    """

    def __init__(self, folder: Path, *, process: int) -> None:
        # A file of its own: another start may be writing to the same folder.
        self.folder, self._path = folder, folder / f"{process}-{uuid.uuid4().hex[:12]}.jsonl"
        self._found = {key: place for path in sorted(folder.glob("*.jsonl")) for key, place in _places(path)}

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def get(self, key: str) -> Measured:
        """Return what was measured. Only the places of lines are held in memory, not their rows."""
        path, offset = self._found[key]
        with path.open("rb") as file:
            file.seek(offset)
            line = json.loads(file.readline())
        if line["rows"] is None:
            return Measured(rows=None, reason=line["reason"], seconds=line["seconds"])
        values = np.frombuffer(base64.b64decode(line["rows"]), dtype="<f8").reshape(line["shape"]).copy()  # writable
        return Measured(rows=values, seconds=line["seconds"])

    def put(self, key: str, measured: Measured) -> None:
        """Append one clip. A kill in the middle costs this clip alone."""
        rows = measured.rows
        line: dict[str, Any] = {"key": key, "reason": measured.reason, "seconds": measured.seconds, "rows": None}
        if rows is not None:
            rows = np.atleast_2d(np.ascontiguousarray(rows, dtype="<f8"))
            line |= {"rows": base64.b64encode(rows.tobytes()).decode("ascii"), "shape": list(rows.shape)}
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            offset = file.tell()
            file.write(json.dumps(line).encode() + b"\n")
        self._found[key] = (self._path, offset)


def digest(*parts: Any) -> str:
    """A hash of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _places(path: Path) -> Iterator[tuple[str, tuple[Path, int]]]:
    """Key and place of every whole line; what a kill has cut short is passed over."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                key = str(json.loads(line)["key"])
                yield key, (path, offset)
            offset += len(line)
