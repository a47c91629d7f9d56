"""When a checkpoint is written, which ones stay, and how a run ends early."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from calm.training.checkpoint_io import publish, remove, remove_partials
from calm.training.interruption import Interrupted, StopReason, StopWatch
from calm.training.status import note_status
from calm.training.steps import step_of, window_ends

__all__ = ["CHECKPOINTS", "LAST", "Checkpoints", "numbered_checkpoints"]

CHECKPOINTS, LAST = "checkpoints", "last.ckpt"


class Checkpoints(Callback):
    """Writes ``last.ckpt`` at the end of an optimizer step, and keeps the newest numbered ones.

    A step is saved when it is a multiple of ``every_steps``, the last of the run, or the one at which a
    signal or the time limit was noticed, and ``status.json`` says so. Must come after every callback
    whose state it saves.

    Args:
        run_dir: the run's folder; checkpoints go to ``checkpoints`` in it.
        every_steps: optimizer steps between numbered checkpoints.
        max_steps: the run's last step.
        num_kept: numbered checkpoints that stay.
        watch: tells when to stop early.
    """

    def __init__(self, run_dir: Path, *, every_steps: int, max_steps: int, num_kept: int, watch: StopWatch) -> None:
        self.run_dir, self.folder = run_dir, run_dir / CHECKPOINTS
        self.every_steps, self.max_steps = every_steps, max_steps
        self.num_kept, self.watch = num_kept, watch
        self._interrupted: Interrupted | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.watch.start()
        if trainer.is_global_zero:
            # Each kill during a save leaves a file of a checkpoint's size, and nobody else would remove it.
            remove_partials(self.folder)
        note_status(self.run_dir, "running", step=step_of(trainer))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.watch.finish()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.watch.finish()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not window_ends(trainer):
            return
        step, reason = step_of(trainer), self.watch.reason(trainer)
        due = step % self.every_steps == 0
        if due or step >= self.max_steps or reason is not StopReason.NONE:
            self._save(trainer, step=step, numbered=due)
            # Now and not when the process leaves: by then another rank's end may have killed this one.
            note_status(self.run_dir, "preempted" if reason is StopReason.SIGNAL else "running", step=step)
        if reason is StopReason.SIGNAL:
            number = self.watch.signal_number or 15
            self._interrupted = Interrupted(step=step, checkpoint=self.folder / LAST, signal_number=number)
        if reason is StopReason.TIME_LIMIT:
            trainer.should_stop = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._leave()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._leave()

    def _leave(self) -> None:
        # Not at the end of the batch: Lightning logs its losses only after that hook.
        if self._interrupted is not None:
            raise self._interrupted

    def _save(self, trainer: Trainer, *, step: int, numbered: bool) -> None:
        trainer.save_checkpoint(self.folder / LAST)
        if numbered and self.num_kept and trainer.is_global_zero:
            publish(self.folder / LAST, name=f"step-{step:08d}.ckpt")
            for old in numbered_checkpoints(self.folder)[: -self.num_kept]:
                remove(old)


def numbered_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints ``step-*.ckpt`` of a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*.ckpt") if re.fullmatch(r"step-\d+\.ckpt", path.name))
