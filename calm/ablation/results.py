"""What a finished run leaves behind: ``held_out.json`` in its folder, written in one step."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calm.ablation.held_out import ClipErrors
from calm.audio import write_bytes
from calm.errors import DataError

__all__ = ["HELD_OUT_FILE", "RunResult", "read_result", "write_json", "write_result"]

HELD_OUT_FILE = "held_out.json"


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One run of the ablation, judged.

    Args:
        step: optimizer steps taken. seconds: of training, by the run's history.
        parameters: weights that are trained. clips, frames: seen in training by task, see `Budget`.
        errors: task -> held-out errors; only tasks that the run was trained on.
        shards: fingerprints of the training and the held-out shards.
    """

    step: int
    seconds: float
    parameters: int
    clips: dict[str, int]
    frames: dict[str, int]
    errors: dict[str, ClipErrors]
    shards: list[str]


def write_result(folder: Path, result: RunResult) -> Path:
    """Write ``held_out.json``: from now on the run is finished."""
    return write_json(folder / HELD_OUT_FILE, dataclasses.asdict(result), indent=None)


def read_result(folder: Path) -> RunResult | None:
    """Return what a finished run left behind, None where it is not finished. Raises DataError for a damaged file."""
    path = folder / HELD_OUT_FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        errors = {task: ClipErrors(**found) for task, found in values.pop("errors").items()}
        return RunResult(**values, errors=errors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "delete the file: the run is judged again"
        raise DataError(f"The result cannot be read ({error})", where=path, hint=hint) from error


def write_json(path: Path, values: Any, *, indent: int | None = 1) -> Path:
    """Write JSON in one step."""
    return write_bytes(path, (json.dumps(values, indent=indent) + "\n").encode("utf-8"))
