"""Ctrl-C, SIGTERM, SIGUSR1 and the time limit: all of them only set a flag, which all ranks read at the same step."""

from __future__ import annotations

import signal
import threading
import time
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Trainer

from calm.errors import CalmError

__all__ = ["Interrupted", "StopReason", "StopWatch"]


class Interrupted(CalmError):
    """The run was stopped by a signal; everything up to ``step`` is saved."""

    def __init__(self, *, step: int, checkpoint: Path, signal_number: int) -> None:
        self.step, self.checkpoint, self.signal_number = step, checkpoint, signal_number
        super().__init__(
            f"Training was interrupted after step {step}; everything is saved",
            where=checkpoint,
            hint="run the same command with ckpt_path=last to continue",
        )


class StopReason(IntEnum):
    """Why a run ends before its last step. The order is precedence: the reason of all ranks is the maximum."""

    NONE = 0
    TIME_LIMIT = 1
    SIGNAL = 2


class StopWatch:
    """Listens for SIGINT, SIGTERM and SIGUSR1 and watches the clock, between ``start`` and ``finish``.

    A handler that raised, or saved at once, would leave the other ranks waiting in a collective.
    A second Ctrl-C does not wait. SIGUSR1 is what SLURM sends ahead of a preemption (``--signal``).

    Args:
        max_minutes: time limit, or None.
    """

    def __init__(self, max_minutes: float | None) -> None:
        self.max_minutes = max_minutes
        self.signal_number = 0
        self._deadline = float("inf")
        self._previous: dict[int, Any] = {}

    def start(self) -> None:
        if self.max_minutes is not None:
            self._deadline = time.monotonic() + 60 * self.max_minutes
        # Signals reach the main thread only; elsewhere (a notebook's worker) the clock still runs.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
                self._previous[number] = signal.signal(number, self._on_signal)

    def finish(self) -> None:
        for number, handler in self._previous.items():
            # Lightning restores its own signals first: what is no longer ours is not put back a second time.
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._previous.clear()

    def reason(self, trainer: Trainer) -> StopReason:
        """Return the reason to stop now, the same on every rank. A collective call: every rank must make it."""
        mine = StopReason.NONE
        if time.monotonic() > self._deadline:
            mine = StopReason.TIME_LIMIT
        if self.signal_number:
            mine = StopReason.SIGNAL
        if trainer.world_size == 1:
            return mine
        flag = torch.tensor(int(mine), device=trainer.strategy.root_device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        return StopReason(int(flag))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = number
