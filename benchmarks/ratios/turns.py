"""Taking turns: A B A B in one run, so that a machine that slows down favours no one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Times", "milliseconds", "seconds", "turns"]


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds of one job over the rounds: of the clock, and of the processor in all threads of this process."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


def turns(
    jobs: Mapping[str, Callable[[], Any]], *, rounds: int, repeats: int | Mapping[str, int] = 1, warm_up: int = 1
) -> dict[str, Times]:
    """Run every job to warm up, then all in turn, ``rounds`` times. Seconds are per call.

    Args:
        repeats: calls in a turn; more for what is shorter than a millisecond or so. warm_up: calls before.
    """
    count = {name: repeats if isinstance(repeats, int) else repeats[name] for name in jobs}
    for run in jobs.values():
        for _ in range(warm_up):
            run()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, run in jobs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(count[name]):
                run()
            found[name].append(((time.perf_counter() - wall) / count[name], (time.process_time() - cpu) / count[name]))
    return {name: Times(wall=tuple(w for w, _ in each), cpu=tuple(c for _, c in each)) for name, each in found.items()}


def milliseconds(values: tuple[float, ...]) -> str:
    """The median, in words."""
    return f"{1000 * statistics.median(values):.3g} ms"


def seconds(values: tuple[float, ...]) -> str:
    """The median, in words."""
    return f"{statistics.median(values):.3g} s"
