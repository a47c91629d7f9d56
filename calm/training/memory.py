"""Keeps the memory of a long training on a CPU level, at little cost."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from lightning.pytorch.callbacks import Callback

__all__ = ["ReturnFreedMemory", "fix_thresholds", "trim"]

# malloc.h of the GNU C library
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MMAP_BYTES, _TRIM_BYTES = 32 << 20, 1 << 30


class ReturnFreedMemory(Callback):
    """Gives freed memory back to the system now and then.

    Batches whose lengths differ leave holes of all sizes in the heap of the GNU C library: a training grew by gigabytes
    in minutes. To map every large tensor by itself leaves no holes, but then each of its pages is zeroed anew in every
    step. So tensors up to 32 MB stay in the heap, and its holes are returned every ``every_steps`` optimizer steps.
    """

    def __init__(self, *, every_steps: int = 20) -> None:
        self.every_steps = every_steps

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        fix_thresholds()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (batch_idx + 1) % self.every_steps == 0:
            trim()


def fix_thresholds() -> bool:
    """Keep the library from raising its own thresholds; returns whether this C library can be told so."""
    set_option = _function("mallopt")
    return set_option is not None and bool(
        set_option(_MMAP_THRESHOLD, _MMAP_BYTES) and set_option(_TRIM_THRESHOLD, _TRIM_BYTES)
    )


def trim() -> bool:
    """Return the free pages of the heap, also those between blocks in use; returns whether there were any."""
    release = _function("malloc_trim")
    return release is not None and bool(release(ctypes.c_size_t(0)))


def _function(name: str) -> Any | None:
    """A function of the C library, or None where there is no such function."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):  # another C library
        return None
