"""What is freed goes back to the system."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path

import pytest

from calm.training.memory import ReturnFreedMemory, fix_thresholds, trim
from tests.processes import run


def free_around_what_stays(word: str) -> None:
    """Free blocks of many sizes around a few small ones that stay, in steps; print by how many megabytes more are resident."""
    callback, before = ReturnFreedMemory(every_steps=10), resident()
    if word == "set":
        callback.on_train_start(None, None)
    malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
    malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    free(malloc(31 << 20))  # raises the library's own threshold
    for number in range(20):
        blocks = []
        for i in range(40):
            blocks.append(malloc((5 << 20) + 4096 * 37 * (number + i)))
            ctypes.memset(blocks[-1], 1, 5 << 20)
            malloc(200_000)  # stays
        for block in blocks:
            free(block)
        if word == "set":
            callback.on_train_batch_end(None, None, None, None, number)
    print(resident() - before)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library can be told")
def test_freed_blocks_leave_no_holes(tmp_path):
    def kept(word: str) -> int:
        return int(run(free_around_what_stays, word, folder=tmp_path, log=tmp_path / "log", seconds=120))

    assert kept("set") < kept("default") - 100


def test_another_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not fix_thresholds()
    assert not trim()
    ReturnFreedMemory(every_steps=1).on_train_batch_end(None, None, None, None, 0)
