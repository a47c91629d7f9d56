"""Systems that run in an environment of their own: a program for all items, or one command for each.

A program is a Python file of ``programs/``, run by the other environment's Python and fed by ``programs/loop.py``. It
needs nothing of ours. Commands are lists of arguments, never a shell's line.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from calm.audio import read
from calm.baselines.base import Baseline, Outcome, Request
from calm.errors import CalmError, ConfigError, DataError
from calm.types import Waveform

__all__ = ["Foreign", "here", "loop_command", "run_command"]

PROGRAMS = Path(__file__).parent / "programs"
POLL_SECONDS = 0.1
TAIL_CHARACTERS = 2000
#: options that may be paths of files here
FILES = ("weights", "vocab_file")


class Foreign(Baseline):
    """A system that a program of ``programs/`` runs: loaded once, one clip after the other.

    The config has ``python`` (of the system's environment; "" for this one), ``repo`` (a checkout, if it needs one),
    ``start_seconds`` until it must be loaded, and ``timeout_seconds`` for one clip. An item that ends or blocks the
    program is counted as failed, and the program is started again for the rest.
    """

    program: ClassVar[str]
    needs_repo: ClassVar[bool] = True

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """What the program's ``load`` is given, as JSON values."""

    def run(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        config = self.config
        if self.needs_repo and not (config.repo and Path(config.repo).is_dir()):
            raise ConfigError(
                f"{self.about.title} runs from a checkout",
                where=f"baseline.{config.name}.repo",
                hint=f"git clone {self.about.url}, and give the folder and its environment's `python`",
            )
        pending = {request.id: request for request in requests}
        while pending:
            yield from self._attempt(pending)

    def _attempt(self, pending: dict[str, Request]) -> Iterator[Outcome]:
        """Start the program for what is left. Every attempt takes at least one request away, or raises."""
        config = self.config
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            options = {key: here(value) if key in FILES else value for key, value in self.options().items()}
            options["repo"] = str(Path(config.repo).resolve()) if config.repo else ""
            tasks = [_record(request) for request in pending.values()]
            (work / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
            command = loop_command(config.python or sys.executable, self.program, work=work, options=options)
            process = _start(command, cwd=Path(options["repo"] or work), work=work)
            try:
                yield from self._follow(process, work, pending)
            finally:
                _stop(process)

    def _follow(self, process: subprocess.Popen, work: Path, pending: dict[str, Request]) -> Iterator[Outcome]:
        is_ready, lines = False, _Lines(work / "results.jsonl")
        deadline = time.monotonic() + self.config.start_seconds
        while pending:
            has_ended = process.poll() is not None  # asked before reading: what it wrote last is read as well
            for line in lines.new():
                deadline = time.monotonic() + self.config.timeout_seconds
                is_ready = True
                if line.get("id") in pending:
                    pending.pop(line["id"])
                    yield _outcome(line, work)
            if not pending:
                return
            is_late = time.monotonic() > deadline
            if has_ended or is_late:
                reason = _reason(process, work, is_late=is_late)
                if not is_ready:
                    raise ConfigError(f"{self.about.title} could not be started: {reason}", where=self.config.name)
                yield Outcome(id=(lost := next(iter(pending))), reason=reason)
                pending.pop(lost)
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)


class _Lines:
    """The lines that a program has finished writing since they were last asked for."""

    def __init__(self, path: Path) -> None:
        self.path, self.position = path, 0

    def new(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        with self.path.open("rb") as file:
            file.seek(self.position)
            data = file.read()
        whole, _, _ = data.rpartition(b"\n")
        self.position += len(whole) + 1 if whole else 0
        return [json.loads(line) for line in whole.splitlines() if line]


def here(name: str) -> str:
    """A path that is there becomes absolute, since programs run in other folders; the name of a model stays."""
    return os.path.abspath(name) if name and os.path.exists(name) else name


def loop_command(python: str, program: str, *, work: Path, options: dict[str, Any]) -> list[str]:
    """The command line of a program, run by the Python of its own environment."""
    return [
        python,
        str(PROGRAMS / "loop.py"),
        "--program",
        str(PROGRAMS / f"{program}.py"),
        "--tasks",
        str(work / "tasks.json"),
        "--out",
        str(work),
        "--options",
        json.dumps(options),
    ]


def run_command(command: Sequence[str], *, cwd: Path, work: Path, timeout_seconds: float) -> None:
    """Run a command to its end. Raises DataError with the end of its error output, ConfigError where it is not there."""
    process = _start(command, cwd=cwd, work=work)
    try:
        process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        raise DataError(_reason(process, work, is_late=True)) from None
    finally:
        _stop(process)
    if process.returncode:
        raise DataError(_reason(process, work, is_late=False))


def _start(command: Sequence[str], *, cwd: Path, work: Path) -> subprocess.Popen:
    program, *arguments = command
    if os.sep in program:
        # Not resolved: the Python of an environment is a link out of it.
        program = os.path.abspath(program)
    try:
        with (work / "stdout").open("wb") as stdout, (work / "stderr").open("wb") as stderr:
            return subprocess.Popen(
                [program, *arguments],
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
    except OSError as error:
        raise ConfigError(
            f"The program cannot be run ({error.strerror or error})",
            where=command[0],
            hint="install the system in an environment of its own, and give its `python` or `command`",
        ) from None


def _stop(process: subprocess.Popen) -> None:
    """End the program with all that it started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _reason(process: subprocess.Popen, work: Path, *, is_late: bool) -> str:
    what = "no clip in time" if is_late else f"the program ended with status {process.returncode}"
    tail = (work / "stderr").read_bytes()[-TAIL_CHARACTERS:].decode(errors="replace").strip()
    return f"{what}: {tail}" if tail else what


def _record(request: Request) -> dict[str, Any]:
    return {
        "id": request.id,
        "task": str(request.task),
        "text": request.text,
        "reference": str(request.reference or ""),
        "reference_text": request.reference_text,
        "seconds": request.seconds,
        "seed": request.seed,
    }


def _outcome(line: dict[str, Any], work: Path) -> Outcome:
    if "error" in line:
        return Outcome(id=line["id"], reason=line["error"])
    try:
        clip = _clip(work / line["file"], line.get("sample_rate"))
    except (CalmError, OSError, ValueError) as error:
        return Outcome(id=line["id"], reason=f"its audio cannot be read: {getattr(error, 'what', error)}")
    return Outcome(id=line["id"], clip=clip, seconds_taken=float(line["seconds_taken"]))


def _clip(path: Path, sample_rate: int | None) -> Waveform:
    """An array [A, S] that a program saved, or the audio file that its system wrote."""
    if path.suffix != ".npy":
        return read(path)
    return Waveform(audio=torch.from_numpy(np.load(path, allow_pickle=False)).float(), sample_rate=int(sample_rate or 0))
