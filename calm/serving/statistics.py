"""What an engine has done: counters and histograms, as an exporter reads them."""

from __future__ import annotations

import bisect
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from calm.serving.stream import Timings
from calm.types import Task

__all__ = ["Histogram", "Recorder", "Statistics"]

SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0)
FACTORS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Observations by upper bound: ``counts[i]`` are at most ``bounds[i]`` and above the bound before; the last count
    is of those above all bounds."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        return sum(self.counts)

    def with_value(self, value: float) -> Histogram:
        counts = list(self.counts)
        counts[bisect.bisect_left(self.bounds, value)] += 1
        return Histogram(bounds=self.bounds, counts=tuple(counts), total=self.total + value)

    @staticmethod
    def empty(bounds: tuple[float, ...]) -> Histogram:
        return Histogram(bounds=bounds, counts=(0,) * (len(bounds) + 1), total=0.0)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """One moment of an engine. Counters run from its start.

    ``finished`` counts requests that ended by themselves or by a limit, by reason; ``cancelled`` and ``failed`` are
    apart. ``real_time_factor`` is seconds of running per second of audio, of finished requests. ``audio_seconds`` is by
    task.
    """

    queued: int
    running: int
    submitted: int
    refused: int
    cancelled: int
    failed: int
    finished: Mapping[str, int]
    queue_seconds: Histogram
    first_audio_seconds: Histogram
    real_time_factor: Histogram
    audio_seconds: Mapping[str, float]


class Recorder:
    """Takes events from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._submitted = self._refused = self._cancelled = self._failed = 0
        self._finished: Counter[str] = Counter()
        self._audio: dict[str, float] = {str(task): 0.0 for task in Task}
        self._queue, self._first = Histogram.empty(SECONDS), Histogram.empty(SECONDS)
        self._factor = Histogram.empty(FACTORS)
        self._busy_seconds, self._ended = 0.0, 0

    def submitted(self) -> None:
        with self._lock:
            self._submitted += 1

    def refused(self) -> None:
        with self._lock:
            self._refused += 1

    def ended(self, task: Task, reason: str, timings: Timings) -> None:
        with self._lock:
            if reason == "cancelled":
                self._cancelled += 1
            elif reason == "error":
                self._failed += 1
            else:
                self._finished[reason] += 1
            self._audio[str(task)] += timings.audio_seconds
            if timings.queued_seconds is None:
                return
            self._queue = self._queue.with_value(timings.queued_seconds)
            ran = timings.total_seconds - timings.queued_seconds
            self._busy_seconds, self._ended = self._busy_seconds + ran, self._ended + 1
            if timings.first_audio_seconds is not None:
                self._first = self._first.with_value(timings.first_audio_seconds)
                self._factor = self._factor.with_value(ran / timings.audio_seconds)

    @property
    def mean_run_seconds(self) -> float:
        """How long a request runs, so far; 1 before any has ended."""
        with self._lock:
            return self._busy_seconds / self._ended if self._ended else 1.0

    def snapshot(self, *, queued: int, running: int) -> Statistics:
        with self._lock:
            return Statistics(
                queued=queued,
                running=running,
                submitted=self._submitted,
                refused=self._refused,
                cancelled=self._cancelled,
                failed=self._failed,
                finished=dict(self._finished),
                queue_seconds=self._queue,
                first_audio_seconds=self._first,
                real_time_factor=self._factor,
                audio_seconds=dict(self._audio),
            )
