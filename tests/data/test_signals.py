"""A terminal signals all processes of a group: data workers must live on until the first process has saved."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess

import pytest
from torch.utils.data import IterableDataset

from calm.data.loader import build_loader
from tests.processes import run


class Numbers(IterableDataset):
    def __iter__(self):
        yield from range(1000)


def go_on_after(number: str) -> None:
    """The target: a training that only notes a signal, as ours does, and fetches on."""
    multiprocessing.set_start_method("fork", force=True)  # as in a process that was not forked from a server
    os.setsid()
    noted = []
    batches = iter(build_loader(Numbers(), num_workers=2))
    _ = [next(batches) for _ in range(4)]  # both workers have begun
    signal.signal(int(number), lambda *_: noted.append(number))
    subprocess.run(["kill", f"-{number}", "--", f"-{os.getpgrp()}"], check=True, start_new_session=True)
    fetched = [next(batches) for _ in range(50)]
    assert noted and len(fetched) == 50
    print("went on")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
def test_workers_outlive_a_signal_to_the_whole_group(tmp_path, number):
    log = run(go_on_after, str(int(number)), folder=tmp_path, log=tmp_path / "log.txt", seconds=40)
    assert "went on" in log
