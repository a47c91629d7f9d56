"""What /metrics shows, in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from calm.serving.engine import Engine
from calm.serving.stream import Stream

__all__ = ["Measures"]

SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60)
FACTORS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 5, 10)


class Measures:
    """Of one server; its registry is its own, so that two servers in one process count apart."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        task, registry = ["task"], self.registry
        self._requests = Counter(
            "calm_requests", "Generations that ended, by task and reason", ["task", "reason"], registry=registry
        )
        self._refused = Counter("calm_refused", "Requests that were refused, by status", ["status"], registry=registry)
        self._first = Histogram(
            "calm_first_audio_seconds", "From submission to the first audio", task, buckets=SECONDS, registry=registry
        )
        self._queue = Histogram("calm_queue_seconds", "From submission to the start", task, buckets=SECONDS, registry=registry)
        self._factor = Histogram(
            "calm_real_time_factor", "Seconds of running per second of audio", task, buckets=FACTORS, registry=registry
        )
        self._audio = Counter("calm_audio_seconds", "Seconds of audio that were made", task, registry=registry)
        running = Gauge("calm_running", "Requests that are generated now", registry=registry)
        running.set_function(lambda: engine.statistics().running)
        queued = Gauge("calm_queued", "Requests that wait for a place", registry=registry)
        queued.set_function(lambda: engine.statistics().queued)

    def ended(self, stream: Stream) -> None:
        """Count a generation whose reader is done with it."""
        task, timings = str(stream.task), stream.timings
        self._requests.labels(task, stream.finish_reason or "cancelled").inc()
        self._audio.labels(task).inc(timings.audio_seconds)
        if timings.queued_seconds is not None:
            self._queue.labels(task).observe(timings.queued_seconds)
        if timings.first_audio_seconds is None:
            return
        self._first.labels(task).observe(timings.first_audio_seconds)
        if timings.total_seconds is not None and timings.audio_seconds:
            ran = timings.total_seconds - (timings.queued_seconds or 0.0)
            self._factor.labels(task).observe(ran / timings.audio_seconds)

    def refused(self, status: int) -> None:
        """Count a refusal."""
        self._refused.labels(str(status)).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)
