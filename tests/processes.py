"""Processes of their own without the price of a start.

A process that trains imports for five to ten seconds before it does anything. A fork server imports once, and each
process is forked from it: its memory, signals and exit code are its own. One worker of the suite has one server.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import runpy
import socket
import sys
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

__all__ = ["PROCESSES", "calm", "free_port", "processor_seconds", "python", "run", "run_all", "start"]

#: The last call of a process decides what its server imports, and so there is one for the whole suite.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.faults.tiny", "tests.training.engine_worker", "tests.listening.lab", "calm.generation"])


def start(
    target: Callable[..., object], *args: Any, folder: Path, log: Path, environ: Mapping[str, str] | None = None
) -> BaseProcess:
    """Start ``target(*args)`` in ``folder``, on one thread; the file ``log`` gets what it prints."""
    process = PROCESSES.Process(target=_run, args=(target, args, folder, log, dict(environ or {})))
    process.start()
    return process


def run(
    target: Callable[..., object],
    *words: str,
    folder: Path,
    log: Path,
    seconds: float,
    code: int = 0,
    environ: Mapping[str, str] | None = None,
) -> str:
    """Start ``target(*words)`` with an empty log, wait, and return what it printed. Raises AssertionError for another end."""
    log.unlink(missing_ok=True)
    process = start(target, *words, folder=folder, log=log, environ=environ)
    process.join(seconds)
    process.kill()
    assert process.exitcode == code, f"{words} -> {process.exitcode}\n{log.read_text()}"
    return log.read_text()


def run_all(processes: list[BaseProcess], logs: list[Path], *, seconds: float) -> None:
    """Wait until all have ended well. Raises AssertionError with the ends of their logs where one has not."""
    try:
        for process in processes:
            process.join(seconds)
        codes = [process.exitcode for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert set(codes) == {0}, "\n".join([str(codes), *(log.read_text()[-3000:] for log in logs)])


def calm(*words: str) -> None:
    """The target that is the command ``calm WORDS``."""
    from calm.cli import main

    sys.argv = ["calm", *words]
    main()


def python(file: str) -> None:
    """The target that is the command ``python FILE``."""
    runpy.run_path(file, run_name="__main__")


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _run(target: Callable[..., object], args: tuple, folder: Path, log: Path, environ: dict[str, str]) -> None:
    with open(log, "ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.stdout.reconfigure(line_buffering=True)
    os.chdir(folder)
    os.environ.update(environ)
    torch.set_num_threads(1)
    target(*args)


def processor_seconds(work: Callable[[], object]) -> float:
    """What the child processes of ``work`` took of the processor: busy neighbours on the machine do not change it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
