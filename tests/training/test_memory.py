"""What is freed goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from calm.training.memory import ReturnFreedMemory, fix_thresholds, trim

#: frees blocks of many sizes around a few small ones that stay, in steps, then prints the resident megabytes
PROGRAM = """
import ctypes, sys
from calm.training.memory import ReturnFreedMemory
callback = ReturnFreedMemory(every_steps=10)
if sys.argv[1] == "set":
    callback.on_train_start(None, None)
malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
free(malloc(31 << 20))  # raises the library's own threshold
for number in range(20):
    blocks = []
    for i in range(20):
        blocks.append(malloc((5 << 20) + 4096 * 37 * (number + i)))
        ctypes.memset(blocks[-1], 1, 5 << 20)
        malloc(200_000)  # stays
    for block in blocks:
        free(block)
    if sys.argv[1] == "set":
        callback.on_train_batch_end(None, None, None, None, number)
pages = int(open("/proc/self/statm").read().split()[1])
print(pages * 4096 // 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library can be told")
def test_freed_blocks_leave_no_holes():
    def resident(word: str) -> int:
        return int(subprocess.run([sys.executable, "-c", PROGRAM, word], capture_output=True, text=True, check=True).stdout)

    assert resident("set") < resident("default") - 50


def test_another_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not fix_thresholds()
    assert not trim()
    ReturnFreedMemory(every_steps=1).on_train_batch_end(None, None, None, None, 0)
