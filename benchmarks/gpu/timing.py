"""Seconds of work on a device that runs behind the program."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

__all__ = ["medians", "wait"]


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def medians(jobs: dict[str, Callable[[], object]], *, device: str, rounds: int, warm_up: int = 2) -> dict[str, dict]:
    """Median, least and largest seconds of each job; the jobs take turns, each waited for."""
    for job in jobs.values():
        for _ in range(warm_up):
            job()
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            wait(device)
            begun = time.perf_counter()
            job()
            wait(device)
            found[name].append(time.perf_counter() - begun)
    return {name: {"seconds": statistics.median(x), "low": min(x), "high": max(x)} for name, x in found.items()}
