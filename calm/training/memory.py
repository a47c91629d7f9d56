"""Keeps the memory of a long training on a CPU level."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["return_freed_memory"]

# malloc.h of the GNU C library
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_BYTES = 4 << 20


def return_freed_memory() -> bool:
    """Let large freed tensors go back to the system at once; returns whether this C library can be told so.

    The GNU C library raises its threshold for separate mappings to the size of what was freed last. Batches whose
    lengths differ then leave holes of all sizes in the heap: a training grew by gigabytes in minutes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(set_option(_MMAP_THRESHOLD, _BYTES) and set_option(_TRIM_THRESHOLD, _BYTES))
