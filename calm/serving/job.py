"""`Job`: one accepted request as the engine sees it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from calm.generation.clips import Clips
from calm.generation.course import Course
from calm.generation.plan import Plan
from calm.serving.limits import Limits
from calm.serving.stream import Stream

__all__ = ["Job"]


@dataclass(eq=False, kw_only=True)
class Job:
    """A plan of one request and its reader; ``clips`` and ``course`` exist while it runs."""

    stream: Stream
    plan: Plan
    client: str
    deadline_seconds: float
    clips: Clips | None = None
    course: Course | None = None
    paused_since: float | None = field(default=None, init=False)

    def verdict(self, limits: Limits) -> str | None:
        """Why the job must end now, if it must; takes note of when its reader fell behind."""
        if self.stream.cancelled:
            return "cancelled"
        if self.stream.age_seconds > self.deadline_seconds:
            return "deadline"
        if self.stream.buffered_seconds <= limits.max_buffered_seconds:
            self.paused_since = None
            return None
        self.paused_since = self.paused_since or time.monotonic()
        return "slow_reader" if time.monotonic() - self.paused_since > limits.max_paused_seconds else None
