"""One start of a node's workers: torchrun, watched until it ends. Nothing of it is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from calm.launch.plan import LaunchPlan
from calm.training.beats import DONE, Beat, beat_path, read_beats

__all__ = ["Attempt", "Ending"]

#: seconds that torchrun gets to end workers of which we have no process id
GRACE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Why the workers are no more, in a few words, and whether all of them had done their part."""

    reason: str
    is_complete: bool = False


class Attempt:
    """Starts the workers; ``wait`` watches them.

    torchrun and its workers have sessions of their own, so a Ctrl-C in the terminal reaches the launcher
    alone. SIGUSR1, which some schedulers send to every process of a job, is ignored until a worker listens.
    """

    def __init__(self, plan: LaunchPlan) -> None:
        self.plan = plan
        self._asked: set[int] = set()
        for rank in plan.ranks:  # what is found from now on was written by this attempt
            beat_path(plan.run_dir, rank).unlink(missing_ok=True)
        self._seen: dict[int, tuple[Beat | None, float]] = {rank: (None, time.monotonic()) for rank in plan.ranks}
        self._process = subprocess.Popen(plan.command(), start_new_session=True, preexec_fn=_ignore_usr1)

    def wait(self, stop_asked: Callable[[], bool], broken: Callable[[], str | None]) -> Ending:
        """Return how the workers ended, once they have.

        Args:
            stop_asked: whether somebody wants the run to stop; the workers then save and leave.
            broken: why another node makes it useless to go on; None where none does.
        """
        pause = min(1.0, self.plan.heartbeat_timeout / 10)
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return self._describe(self._process.wait(timeout=pause))
                if stop_asked():
                    self._ask_to_stop()
                reason = self._find_silent() or broken()
                if reason is not None:
                    return Ending(reason=reason)
        finally:
            self._end()

    def _beats(self) -> dict[int, Beat]:
        return read_beats(self.plan.run_dir, self.plan.ranks)

    def _find_silent(self) -> str | None:
        """Return a description of a rank without progress. Its beat must *change*: clocks of nodes may differ."""
        now, beats = time.monotonic(), self._beats()
        for rank, (known, since) in self._seen.items():
            beat = beats.get(rank, known)
            if beat != known:
                self._seen[rank] = beat, now
                continue
            limit = self.plan.start_timeout if beat is None else self.plan.heartbeat_timeout
            if now - since > limit and (beat is None or beat.phase != DONE):
                at = "before its first sign of life" if beat is None else f"in phase '{beat.phase}' at step {beat.step}"
                return f"rank {rank} made no progress for {now - since:.0f} s {at}"
        return None

    def _ask_to_stop(self) -> None:
        beats = self._beats()
        if not beats:
            self._process.terminate()  # nothing has been trained yet, nothing is lost
        for beat in beats.values():
            if beat.pid not in self._asked:
                self._asked.add(beat.pid)
                with suppress(ProcessLookupError):
                    os.kill(beat.pid, signal.SIGTERM)

    def _end(self) -> None:
        """Kill what is left: workers first, stopped ones too, since torchrun's death would set them free."""
        code = self._process.poll()
        if code is not None and code >= 0:
            return  # torchrun has seen to the end of its workers
        for beat in self._beats().values():
            with suppress(ProcessLookupError, PermissionError):
                # torchrun makes every worker the leader of its group, in which its loaders live as well.
                if os.getpgid(beat.pid) == beat.pid:
                    os.killpg(beat.pid, signal.SIGKILL)
        self._process.terminate()
        try:
            self._process.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _describe(self, code: int) -> Ending:
        beats = self._beats()
        if code == 0 and all(rank in beats and beats[rank].phase == DONE for rank in self.plan.ranks):
            return Ending(reason="all workers have done their part, but not rank zero", is_complete=True)
        if code == 0:
            return Ending(reason="the workers left before the end")
        return Ending(reason="a worker failed or was killed" if code > 0 else f"torchrun was killed by signal {-code}")


def _ignore_usr1() -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
