"""``status.json``: how a run stands. Whether it is done is decided by this file, never by an exit code.

A process that dies says nothing, and a library that swallows an error exits with 0. Only a run that was
exported in full writes ``done``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

from calm.audio.files import write_bytes
from calm.errors import CalmError

__all__ = ["STATUS", "RunStatus", "failures_noted", "note_status", "read_status", "write_status"]

STATUS = "status.json"

State = Literal["running", "done", "preempted", "failed"]


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """How a run stands.

    Args:
        state: ``running`` (also after a kill, which nobody could write down), ``done`` (trained and exported),
            ``preempted`` (a signal came, everything is saved) or ``failed``.
        step: the step from which the run can go on: that of ``last.ckpt``.
        reason: the error's first line, where the run failed.
        time: when it was written, in Unix seconds. No two writings of a run are equal.
    """

    state: State
    step: int
    reason: str = ""
    time: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        is_typed = type(self.step) is int and type(self.reason) is str and type(self.time) in (int, float)
        if self.state not in get_args(State) or not is_typed:
            raise ValueError(f"not a status: {vars(self)}")


def read_status(run_dir: Path) -> RunStatus | None:
    """Return what a run last said about itself; None where it has said nothing that can be read."""
    try:
        return RunStatus(**json.loads((run_dir / STATUS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def write_status(run_dir: Path, status: RunStatus) -> None:
    """Write ``status.json`` in one step. Raises InputError where the disk refuses it."""
    write_bytes(run_dir / STATUS, (json.dumps(asdict(status), indent=1) + "\n").encode())


def note_status(run_dir: Path, state: State, *, step: int) -> None:
    """Write how the run stands; only rank zero does."""
    if _is_rank_zero():
        write_status(run_dir, RunStatus(state=state, step=step))


@contextmanager
def failures_noted(run_dir: Path, *, except_for: type[BaseException]) -> Iterator[None]:
    """Write ``failed`` for every exception but ``except_for``, which has been written down by whoever raised it."""
    try:
        yield
    except except_for:
        raise
    except BaseException as error:
        _note_failure(run_dir, error)
        raise


def _is_rank_zero() -> bool:
    """Lightning knows; it is imported here, because a launcher reads a status without it."""
    from lightning.pytorch.utilities import rank_zero_only

    return rank_zero_only.rank == 0


def _note_failure(run_dir: Path, error: BaseException) -> None:
    if not _is_rank_zero():
        return
    before = read_status(run_dir)
    lines = str(error).splitlines()
    reason = f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")
    try:
        write_status(run_dir, RunStatus(state="failed", step=before.step if before else 0, reason=reason))
    except CalmError:
        return  # a full disk, say: the error itself is the message, and no status is no `done`
