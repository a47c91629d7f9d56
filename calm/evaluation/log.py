"""What a system writes down while it makes its clips: ``generation.jsonl``, one JSON object with ``id`` a line.

Of a clip that was made twice the last line counts. A line that a kill has cut short is passed over, and the next one
starts on a line of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["LOG_NAME", "append_log", "item_seed", "read_log"]

LOG_NAME = "generation.jsonl"


def append_log(folder: Path, entry: Mapping[str, Any]) -> None:
    """Add a line, on the disk before this returns. Several processes may add to one file."""
    path = folder / LOG_NAME
    with path.open("ab") as file:
        glued = b"" if _ends_a_line(path) else b"\n"
        file.write(glued + json.dumps(dict(entry)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_log(folder: Path) -> dict[str, dict[str, Any]]:
    """The last entry of each id."""
    path, entries = folder / LOG_NAME, {}
    if not path.is_file():
        return {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            entries[entry["id"]] = entry
    return entries


def item_seed(seed: int, id: str) -> int:
    """The seed of one item, below 2^31: it depends on the run's seed and the id, not on the list or the order."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{id}".encode()).digest()[:4], "big") >> 1


def _ends_a_line(path: Path) -> bool:
    if path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
