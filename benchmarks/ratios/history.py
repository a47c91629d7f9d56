"""Runs on disk, one after another: commit, date, machine, versions, readings."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.ratios.readings import Reading
from calm.audio import write_bytes
from calm.evaluation.machine import machine_record

__all__ = ["PATH", "latest", "load", "record", "save", "series"]

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "benchmarks" / "results" / "ratios.json"
PACKAGES = ("torch", "pocket-tts", "transformers", "diffusers", "webdataset")


def commit() -> str:
    """The commit of the tree that is measured, with "+" where it has changes."""
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "calm", "conf")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def load(path: Path = PATH) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def record(readings: Sequence[Reading]) -> dict[str, Any]:
    """A run as it is kept. ``load`` says how busy the machine was, ``instructions`` which kernels torch takes."""
    instructions = torch.backends.cpu.get_cpu_capability()
    machine = machine_record(PACKAGES) | {"load": os.getloadavg()[0], "instructions": instructions}
    return {"commit": commit(), **machine, "readings": {reading.key: reading.as_json() for reading in readings}}


def save(run: dict[str, Any], path: Path = PATH) -> None:
    """Append a run. Rows measured again at one commit on one machine replace their former selves."""
    runs = load(path)
    same = ("commit", "machine", "instructions", "versions")
    if runs and all(runs[-1][key] == run[key] for key in same):
        run = {**run, "readings": {**runs.pop()["readings"], **run["readings"]}}
    write_bytes(path, (json.dumps([*runs, run], indent=1) + "\n").encode())


def latest(runs: Sequence[dict[str, Any]]) -> list[Reading]:
    """The newest reading of every key, in the order of the rows."""
    newest: dict[str, dict[str, Any]] = {}
    for run in runs:
        newest |= run["readings"]
    readings = [Reading.from_json(one) for one in newest.values()]
    return sorted(readings, key=lambda reading: int(reading.row.removeprefix("P")))


def series(runs: Sequence[dict[str, Any]], key: str) -> list[tuple[str, Reading]]:
    """Commit and reading of one key, oldest first."""
    return [(run["commit"], Reading.from_json(run["readings"][key])) for run in runs if key in run["readings"]]
