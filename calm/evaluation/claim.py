"""Whose clips a folder holds: one system, made in one way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calm.audio import write_bytes
from calm.errors import InputError

__all__ = ["NOTE", "claim"]

NOTE = "source.json"


def claim(folder: Path, source: Mapping[str, Any]) -> Path:
    """Note in a folder what makes its clips; returns the folder.

    Several processes may claim one folder for the same source; none may add a clip before all have.
    Raises InputError where it holds clips that something else made, or the same with other settings.
    """
    note = folder / NOTE
    said = json.dumps(dict(source), sort_keys=True, indent=1) + "\n"
    if note.is_file() and note.read_text(encoding="utf-8", errors="replace") != said and any(folder.glob("*.wav")):
        raise InputError(
            "The folder holds clips of another system, other weights, another seed or other settings",
            where=note,
            allowed=json.dumps(dict(source), sort_keys=True),
            hint="choose another folder, or delete this one",
        )
    write_bytes(note, said.encode())
    return folder
