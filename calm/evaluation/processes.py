"""Evaluation on several processes: under torchrun a gloo group, otherwise none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from torch import distributed

__all__ = ["barrier", "place", "process_group"]


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun has started, if any; scorers may use GPUs, figures are gathered on the CPU."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield
        return
    # One process may be hours ahead of another: generation and dear scorers take as long as they take.
    distributed.init_process_group("gloo", timeout=timedelta(days=7))
    try:
        yield
    finally:
        distributed.destroy_process_group()


def place() -> tuple[int, int]:
    """Rank and number of processes."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def barrier() -> None:
    """Wait for all processes, where there are several."""
    if place()[1] > 1:
        distributed.barrier()
