"""`calm generate --profile`: where the time of a generation goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from calm.cli.errors import console

__all__ = ["profiled"]

NUM_OPERATIONS = 5


@contextmanager
def profiled() -> Iterator[None]:
    """Print the operations that took most of the time within: their share, calls, and microseconds a call.

    Times are an operation's own, without what it calls, on the accelerator where there is one. The profiler itself slows
    small operations down, so that shares say more than times.
    """
    import torch
    from torch.profiler import ProfilerActivity, profile

    on_gpu = torch.cuda.is_available()
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=kinds) as found:
        yield
    key = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    rows: list[Any] = sorted(found.key_averages(), key=lambda row: getattr(row, key), reverse=True)
    whole = sum(getattr(row, key) for row in rows) or 1.0
    for row in rows[:NUM_OPERATIONS]:
        own = getattr(row, key)
        console().print(f"{own / whole:5.1%} {row.key}: {row.count} calls, {own / row.count:.0f} us each", highlight=False)
