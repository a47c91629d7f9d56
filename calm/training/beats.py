"""The file of a rank's heartbeat: what it says, where it lies. A launcher reads it without what a training imports."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DONE", "HEARTBEATS", "Beat", "beat_path", "read_beats"]

#: the folder of the files, in the run's folder
HEARTBEATS = "heartbeat"
#: the phase of a rank that has nothing left to do, and may be silent
DONE = "done"


@dataclass(frozen=True, kw_only=True)
class Beat:
    """One sign of life: who (global rank, machine, process), where (optimizer step, phase), when (Unix seconds)."""

    rank: int
    host: str
    pid: int
    step: int
    phase: str
    time: float

    def __post_init__(self) -> None:
        numbers, words = (self.rank, self.pid, self.step), (self.host, self.phase)
        if {*map(type, numbers)} != {int} or {*map(type, words)} != {str} or type(self.time) not in (int, float):
            raise ValueError(f"not a beat: {numbers}, {words}, {self.time!r}")


def beat_path(run_dir: Path, rank: int) -> Path:
    """Return the heartbeat file of a global rank."""
    return run_dir / HEARTBEATS / f"rank-{rank:05d}.json"


def read_beats(run_dir: Path, ranks: Iterable[int]) -> dict[int, Beat]:
    """Return the newest beat of every rank that has one."""
    beats: dict[int, Beat] = {}
    for rank in ranks:
        try:
            beats[rank] = Beat(**json.loads(beat_path(run_dir, rank).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            continue
    return beats
