"""Heartbeats: a small file per rank that changes while the rank gets on with its work.

A process that hangs in a collective, a dead file system or a stopped machine looks alive from outside.
Its heartbeat stands still, and `calm launch` ends it.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from calm.training.beats import Beat, beat_path
from calm.training.steps import step_of

__all__ = ["Heartbeats"]

log = logging.getLogger(__name__)


class Heartbeats(Callback):
    """Writes this rank's beat when its phase changes, and at most every ``every_seconds`` while batches go by.

    Only progress beats: a thread with a timer would go on beating for a rank that hangs.
    """

    def __init__(self, run_dir: Path, *, every_seconds: float) -> None:
        self.run_dir, self.every_seconds = run_dir, every_seconds
        self._last = float("-inf")
        self._is_silent = False

    def beat(self, phase: str, *, step: int = 0) -> None:
        """Write one beat now. A disk that refuses it does not stop the training; a checkpoint will say so."""
        rank = rank_zero_only.rank
        path = beat_path(self.run_dir, rank)
        beat = Beat(rank=rank, host=socket.gethostname(), pid=os.getpid(), step=step, phase=phase, time=time.time())
        self._last = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Renamed, so that nobody reads half a beat; not synced, because it need not outlive the machine.
            temporary = path.with_suffix(".part")
            temporary.write_text(json.dumps(asdict(beat)) + "\n", encoding="utf-8")
            os.replace(temporary, path)
        except OSError as error:
            if not self._is_silent:
                log.warning("no heartbeat can be written (%s); `calm launch` will take this rank for dead", error)
            self._is_silent = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.beat("training", step=step_of(trainer))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._progress("training", trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._progress("validation", trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.beat("saving", step=step_of(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.beat("exporting", step=step_of(trainer))

    def _progress(self, phase: str, trainer: Trainer) -> None:
        if time.monotonic() - self._last >= self.every_seconds:
            self.beat(phase, step=step_of(trainer))
