"""Seconds of work on a device that runs behind the program."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

from benchmarks.ratios.turns import turns

__all__ = ["medians", "wait"]


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def medians(jobs: dict[str, Callable[[], object]], *, device: str, rounds: int, warm_up: int = 2) -> dict[str, dict]:
    """Median, least and largest seconds of each job; the jobs take turns, each waited for."""
    waited = {name: lambda job=job: (job(), wait(device)) for name, job in jobs.items()}
    found = {name: times.wall for name, times in turns(waited, rounds=rounds, warm_up=warm_up).items()}
    return {name: {"seconds": statistics.median(x), "low": min(x), "high": max(x)} for name, x in found.items()}
