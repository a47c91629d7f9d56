"""`Engine`: requests of any task, age and length share one model in one thread, block by block."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from numbers import Real

import torch

from calm.errors import Busy, Closing, InputError
from calm.generation import AudioCALM
from calm.generation.clips import Clips, update_together
from calm.generation.course import open_course
from calm.generation.joint import advance
from calm.serving.job import Job
from calm.serving.limits import Limits
from calm.serving.queue import FairQueue
from calm.serving.statistics import Recorder, Statistics
from calm.serving.stream import Stream
from calm.types import Waveform

__all__ = ["Engine"]

#: how soon, at the latest, a deadline is noticed while every running request waits for its reader
TICK_SECONDS = 0.1
#: requests whose prompts are read between two blocks: those that run already wait meanwhile
OPENED_TOGETHER = 2


class Engine:
    """Serves one model.

        with Engine(AudioCALM.from_pretrained("mini")) as engine:
            for piece in engine.submit("Rain on a roof.", task="sound", seed=1):
                play(piece)

    Args:
        model: is used by the engine's thread alone, apart from planning.
        limits: what is taken on; the defaults suit a small model on one core.
    """

    def __init__(self, model: AudioCALM, limits: Limits | None = None) -> None:
        self.model, self.limits = model, limits or Limits()
        self._changed = threading.Condition()
        self._queue: FairQueue[Job] = FairQueue()
        self._running: list[Job] = []
        self._recorder = Recorder()
        self._thread: threading.Thread | None = None
        self._stop_at: float | None = None

    # Any thread -------------------------------------------------------------------------------

    def start(self) -> Engine:
        """Start the engine's thread; an engine is started once."""
        assert self._thread is None, "an engine is started once"
        self._thread = threading.Thread(target=self._run, name="calm-engine", daemon=True)
        self._thread.start()
        return self

    def stop(self, drain_seconds: float = 0.0) -> None:
        """Take nothing on any more, let what was accepted finish for so long, cancel the rest, and return."""
        with self._changed:
            self._stop_at = time.monotonic() + drain_seconds
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether requests that were accepted are being worked on."""
        return self._thread is not None and self._thread.is_alive()

    def __enter__(self) -> Engine:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def submit(
        self,
        text: str,
        *,
        task: str,
        notify: Callable[[], None] | None = None,
        deadline_seconds: float | None = None,
        client: str = "",
        **options,
    ) -> Stream:
        """Accept a request, and return the stream of its audio at once.

        Args:
            notify: called from the engine's thread whenever the stream has something new.
            deadline_seconds: from now to the end; at most, and by default, that of the limits.
            client: requests of different clients take turns. The unnamed client "" has no cap of its own.
            options: as for ``AudioCALM.generate``.

        Raises InputError for an argument that is not accepted, Busy where too many wait, Closing while stopping.
        """
        try:
            self._check_room(client)
            job = self._job(text, task, notify, deadline_seconds, client, options)
            with self._changed:
                self._check_room(client)
                self._queue.push(client, job)
                self._recorder.submitted()
                self._changed.notify_all()
        except (InputError, Busy, Closing):
            self._recorder.refused()
            raise
        return job.stream

    def statistics(self) -> Statistics:
        """Counters and histograms of this moment."""
        with self._changed:
            # One whose end has been said already is still listed until the next block.
            running = sum(job.stream.finish_reason is None for job in self._running)
            return self._recorder.snapshot(queued=len(self._queue), running=running)

    def _job(
        self,
        text: str,
        task: str,
        notify: Callable[[], None] | None,
        deadline_seconds: float | None,
        client: str,
        options: dict,
    ) -> Job:
        limits = self.limits
        limits.check(text, options)
        known = deadline_seconds is None or (isinstance(deadline_seconds, Real) and deadline_seconds > 0)
        if not known:
            what = f"deadline_seconds = {deadline_seconds!r} is not accepted"
            raise InputError(what, where="deadline_seconds", allowed="a number above 0")
        if options.get("duration") is None and options.get("max_seconds") is None:
            options = {**options, "max_seconds": min(limits.max_seconds, self.model.sampler.max_seconds)}
        plan = self.model.plan(text, task=task, **options)
        request = plan.requests[0]
        return Job(
            stream=Stream(task=request.task, seed=request.seed, notify=notify, wake=self._wake),
            plan=plan,
            client=client,
            deadline_seconds=min(deadline_seconds or limits.deadline_seconds, limits.deadline_seconds),
        )

    def _check_room(self, client: str) -> None:
        """Raise Busy or Closing where a request of this client cannot be accepted now."""
        with self._changed:
            if self._stop_at is not None or self._thread is None:
                raise Closing("The engine takes no requests", allowed="requests between start() and stop()")
            waiting = len(self._queue)
            share = (1 + waiting) / self.limits.max_running
            retry = max(1.0, share * self._recorder.mean_run_seconds)
            if waiting >= self.limits.max_queued:
                raise Busy(f"{waiting} requests wait already", where="max_queued", retry_seconds=retry)
            own = sum(job.client == client for job in (*self._queue, *self._running))
            if client and own >= self.limits.max_per_client:
                raise Busy(f"Client '{client}' has {own} requests already", where="max_per_client", retry_seconds=retry)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # The engine's thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._loop()
        finally:
            # Only a fault of the engine itself leaves requests: their readers must not wait for ever.
            with self._changed:
                self._stop_at = self._stop_at or time.monotonic()
                for job in (*self._queue, *self._running):
                    if job.stream.finish_reason is None:
                        self._end(job, "error", error=Closing("The engine has broken down"))

    @torch.no_grad()
    def _loop(self) -> None:
        while True:
            with self._changed:
                self._retire()
                if self._stop_at is not None and not self._running and not self._queue:
                    return
                new = self._admit()
                ready = [job for job in self._running if job.paused_since is None]
                if not ready:
                    self._changed.wait(TICK_SECONDS if self._running else None)
                    continue
            for job in new:
                self._open(job)
            self._advance([job for job in ready if job.stream.finish_reason is None])

    def _retire(self) -> None:
        """End what was cancelled, what is overdue, and everything once the time to drain is over."""
        over = self._stop_at is not None and time.monotonic() >= self._stop_at
        self._running = [job for job in self._running if job.stream.finish_reason is None]
        for job in (*self._queue, *self._running):
            reason = "cancelled" if over else job.verdict(self.limits)
            if reason is not None:
                self._end(job, reason)
        self._queue.keep(lambda job: job.stream.finish_reason is None)
        self._running = [job for job in self._running if job.stream.finish_reason is None]

    def _admit(self) -> list[Job]:
        """Take a few requests from the queue, where there is room."""
        room = min(OPENED_TOGETHER, self.limits.max_running - len(self._running), len(self._queue))
        new = [self._queue.pop() for _ in range(room)]
        self._running += new
        return new

    def _open(self, job: Job) -> None:
        """Read the prompt of a request."""
        job.stream.begin()
        try:
            job.clips = Clips(self.model.model, job.plan, gather=1)
            job.course = open_course(self.model.model, **job.plan.sampling)
        except Exception as error:
            self._end(job, "error", error=error)

    def _advance(self, jobs: list[Job]) -> None:
        """Make the next block of every job: together, where their blocks have one size."""
        alike: dict[int, list[Job]] = {}
        for job in jobs:
            alike.setdefault(job.plan.settings.block_size, []).append(job)
        for some in alike.values():
            try:
                blocks = advance(self.model.model, [job.course for job in some])
                pieces = update_together([job.clips for job in some], blocks)
            except Exception as error:
                # Nobody knows how far the others came.
                for job in some:
                    self._end(job, "error", error=error)
                continue
            for job, (audio,) in zip(some, pieces, strict=True):
                if audio.shape[-1]:
                    job.stream.put(Waveform(audio=audio, sample_rate=self.model.sample_rate))
                if job.clips.done:
                    self._end(job, job.clips.reason(0))

    def _end(self, job: Job, reason: str, *, error: Exception | None = None) -> None:
        job.clips = job.course = None
        reason = job.stream.end(reason, error=error)
        self._recorder.ended(job.stream.task, reason, job.stream.timings)
