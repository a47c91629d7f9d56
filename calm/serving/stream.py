"""`Stream`: one request as its reader sees it. Pieces of audio, then an end with a reason."""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from calm.types import Task, Waveform

__all__ = ["Stream", "Timings"]


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Seconds since submission: until it ran, until its first audio, until its end. None for what is still to come.

    ``audio_seconds``: length of the audio made so far.
    """

    queued_seconds: float | None
    first_audio_seconds: float | None
    total_seconds: float | None
    audio_seconds: float


class Stream:
    """Audio of one request while it is made; made by ``Engine.submit``. Any thread may read it, one at a time.

    Iterating waits for pieces and raises ``error`` at the end where there is one. ``take`` never waits.
    ``finish_reason`` is that of a ``Generation``, or "cancelled", "deadline", "slow_reader" or "error"; None before.

    Args:
        notify: called, without arguments, from the engine's thread whenever there is a piece or the end. It must not
            wait. Where it raises, the request is cancelled.
        wake: tells the engine that the reader has done something.
    """

    def __init__(
        self, *, task: Task, seed: int, notify: Callable[[], None] | None, wake: Callable[[], None]
    ) -> None:
        self.task, self.seed = task, seed
        self.finish_reason: str | None = None
        self.error: Exception | None = None
        self.cancelled = False
        self._notify, self._wake = notify, wake
        self._pieces: deque[Waveform] = deque()
        self._changed = threading.Condition()
        self._submitted = time.monotonic()
        self._started: float | None = None
        self._first: float | None = None
        self._over: float | None = None
        self._audio_seconds = 0.0

    # The reader's side ------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Waveform]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pieces or self.finish_reason)
            pieces = self.take()
            yield from pieces
            if not pieces and self.ended:
                if self.error is not None:
                    raise self.error
                return

    def take(self) -> list[Waveform]:
        """Return the pieces that are there, perhaps none; each is given once."""
        with self._changed:
            pieces = list(self._pieces)
            self._pieces.clear()
        if pieces:
            self._wake()
        return pieces

    def cancel(self) -> None:
        """Give up the request; what was not taken is dropped. Nothing happens where it has ended."""
        with self._changed:
            if self.finish_reason is None:
                self.cancelled = True
                self._pieces.clear()
        self._wake()

    @property
    def ended(self) -> bool:
        """Whether nothing can be taken any more."""
        with self._changed:
            return self.finish_reason is not None and not self._pieces

    @property
    def timings(self) -> Timings:
        def since(moment: float | None) -> float | None:
            return None if moment is None else moment - self._submitted

        return Timings(
            queued_seconds=since(self._started),
            first_audio_seconds=since(self._first),
            total_seconds=since(self._over),
            audio_seconds=self._audio_seconds,
        )

    # The engine's side ------------------------------------------------------------------------

    @property
    def age_seconds(self) -> float:
        return time.monotonic() - self._submitted

    @property
    def buffered_seconds(self) -> float:
        """Audio that waits for the reader."""
        with self._changed:
            return sum(piece.seconds for piece in self._pieces)

    def begin(self) -> None:
        """The request has left the queue."""
        self._started = time.monotonic()

    def put(self, piece: Waveform) -> None:
        """Hand a piece to the reader."""
        with self._changed:
            self._first = self._first or time.monotonic()
            self._audio_seconds += piece.seconds
            if not self.cancelled:
                self._pieces.append(piece)
            self._changed.notify_all()
        self._tell()

    def end(self, reason: str, *, error: Exception | None = None) -> str:
        """Nothing more will come. Returns the reason that stands: who cancelled has lost audio, however the clip ended."""
        with self._changed:
            reason = "cancelled" if self.cancelled and error is None else reason
            self._over = time.monotonic()
            self.error, self.finish_reason = error, reason
            self._changed.notify_all()
        self._tell()
        return reason

    def _tell(self) -> None:
        try:
            if self._notify is not None:
                self._notify()
        except Exception as error:
            # A reader that is gone (its loop is closed) must not take the others with it.
            warnings.warn(f"A reader could not be told, its request is cancelled: {error!r}", stacklevel=2)
            self.cancelled = True
