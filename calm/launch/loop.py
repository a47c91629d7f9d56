"""Starts a node's workers again until ``status.json`` says that the run is done, or somebody asks to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Literal

from calm.launch.attempt import Attempt, Ending
from calm.launch.meeting import Meeting
from calm.launch.plan import LaunchPlan
from calm.training.network import choose_interface
from calm.training.status import RunStatus, read_status, write_status

__all__ = ["Outcome", "launch"]

State = Literal["done", "preempted", "failed"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
#: longest wait before a restart, in seconds; the first is a second, and each further one twice as long
MAX_BACKOFF = 60.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a launch ended: the state, the step that is safe, restarts in all, and the signal that asked to stop."""

    state: State
    step: int
    num_restarts: int
    reason: str = ""
    signal_number: int = 0


def launch(plan: LaunchPlan, *, say: Callable[[str], None]) -> Outcome:
    """Run this node's workers until the run is done, preempted, or has failed too often in a row.

    Restarts are counted from the last new checkpoint, so that a run of weeks outlives many faults and a
    run that cannot start ends soon.

    Args:
        plan: what to run, and where this node stands.
        say: takes one line for every restart.
    Raises NetworkError where several nodes cannot reach each other.
    """
    if plan.num_nodes > 1:
        choose_interface(plan.main_address)
    before = read_status(plan.run_dir)
    if before is not None and before.state == "done" and before.step >= plan.max_steps:
        return Outcome(state="done", step=before.step, num_restarts=0, reason="nothing left to do")
    with _listening() as stop:
        return _Loop(plan, before=before, stop=stop, say=say).run()


class _Loop:
    def __init__(self, plan: LaunchPlan, *, before: RunStatus | None, stop: _Stop, say: Callable[[str], None]) -> None:
        self.plan, self.before, self.stop, self.say = plan, before, stop, say
        self.num_restarts = self.num_in_a_row = 0
        self.meeting = Meeting(plan.run_dir, node_rank=plan.node_rank, num_nodes=plan.num_nodes)

    def run(self) -> Outcome:
        while True:
            started_from = self._status()
            ending = self._attempt()
            if ending.is_complete:
                self._wait_for_rank_zero()
            if (outcome := self._ended()) is not None:
                return outcome
            status = self._status()
            reason = status.reason if status.state == "failed" and status != started_from else ending.reason
            if status.step > started_from.step:
                self.num_in_a_row = 0
            if self.num_in_a_row >= self.plan.max_restarts:
                return self._outcome("failed", reason=reason)
            self._pause(reason)
            if (outcome := self._ended()) is not None:
                return outcome

    def _attempt(self) -> Ending:
        timeout = self.plan.start_timeout
        if self.meeting.agree(self._stop_asked, timeout=timeout):
            return Attempt(self.plan).wait(self._stop_asked, self.meeting.broken)
        return Ending(reason=f"node 0 has not started within {timeout:.0f} s")

    def _stop_asked(self) -> bool:
        """Whether this node was asked to stop, and has told those who watch it, or another was; the main node passes it on."""
        asked, left = self.stop.is_asked(), self.meeting.is_left()
        if asked or (left and self.plan.node_rank == 0):
            self.meeting.leave()
        return asked or left

    def _status(self) -> RunStatus:
        return read_status(self.plan.run_dir) or RunStatus(state="running", step=0, time=0.0)

    def _ended(self) -> Outcome | None:
        """Return the outcome where there is nothing left to start.

        A run that was done before may go on with more steps: only what is written from now on counts.
        """
        status = self._status()
        if status != self.before and status.state in ("done", "preempted"):
            return self._outcome(status.state)
        return self._outcome("preempted") if self._stop_asked() else None

    def _wait_for_rank_zero(self) -> None:
        """Wait while another node's rank zero exports: this node's ranks have nothing left to do."""
        deadline = time.monotonic() + self.plan.start_timeout
        while self._status().state == "running" and time.monotonic() < deadline and not self._stop_asked():
            if self.meeting.broken() is not None:
                return
            self.stop.wait(0.5)

    def _pause(self, reason: str) -> None:
        self.num_restarts, self.num_in_a_row = self.num_restarts + 1, self.num_in_a_row + 1
        seconds = min(MAX_BACKOFF, 2.0 ** (self.num_in_a_row - 1))
        count = f"restart {self.num_in_a_row} of {self.plan.max_restarts}"
        self.say(f"{reason}; {count} from step {self._status().step} in {seconds:.0f} s")
        self.stop.wait(seconds)

    def _outcome(self, state: State, *, reason: str = "") -> Outcome:
        """Return how it ended; node 0 writes down what its workers could not."""
        status = self._status()
        if self.plan.node_rank == 0 and status.state != state:
            write_status(self.plan.run_dir, RunStatus(state=state, step=status.step, reason=reason))
        return Outcome(
            state=state,
            step=status.step,
            num_restarts=self.num_restarts,
            reason=reason,
            signal_number=self.stop.signal_number,
        )


class _Stop:
    """Remembers the signal that asked to stop."""

    signal_number = 0

    def is_asked(self) -> bool:
        return self.signal_number != 0

    def wait(self, seconds: float) -> None:
        """Sleep, but not past a signal."""
        deadline = time.monotonic() + seconds
        while not self.is_asked() and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(0.2, left))

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C does not wait
        self.signal_number = number


@contextmanager
def _listening() -> Iterator[_Stop]:
    stop = _Stop()
    before = {number: signal.signal(number, stop.on_signal) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
