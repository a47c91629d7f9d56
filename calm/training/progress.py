"""One live line: step, losses, learning phase, time left."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from calm.training.steps import step_of, window_ends

__all__ = ["ProgressLine"]


class ProgressLine(Callback):
    """Shows the run on a rich console, where it begins or goes on first; at its end one plain line stays.

    Args:
        max_steps: length of the run.
        phases: names of the curriculum's phases; the reading ``phase`` is an index into them.
        console: where to draw; None for standard error.
    """

    def __init__(self, *, max_steps: int, phases: list[str], console: Console | None = None) -> None:
        self.max_steps, self.phases = max_steps, phases
        self.console = console or Console(stderr=True)
        self._progress: Progress | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        columns = [BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
        step = step_of(trainer)
        begun = f"goes on at step {step:,}" if step else "starts at step 0"
        self.console.print(f"{trainer.default_root_dir}: {begun} of {self.max_steps:,}", highlight=False, markup=False, soft_wrap=True)
        self._progress = Progress(*columns, TextColumn("{task.description}"), console=self.console, transient=True)
        self._task = self._progress.add_task("starting", total=self.max_steps, completed=step)
        self._progress.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._progress is not None and window_ends(trainer):
            step = step_of(trainer)
            due = step % trainer.log_every_n_steps == 0
            description = {"description": self._describe(trainer)} if due else {}
            self._progress.update(self._task, completed=step, **description)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._progress is not None and not trainer.sanity_checking:
            values = {n: v for n, v in trainer.callback_metrics.items() if n.startswith("val/") and "/t" not in n}
            self.console.print(f"step {step_of(trainer):>6}  " + _readings(values), highlight=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _describe(self, trainer: Trainer) -> str:
        metrics = trainer.logged_metrics
        phase = metrics.get("phase")
        name = f"[{self.phases[int(phase)]}] " if phase is not None and int(phase) < len(self.phases) else ""
        hidden = ("train/grad_norm", "train/skipped_steps")
        losses = {n: v for n, v in metrics.items() if n.startswith("train/") and n not in hidden}
        # rich reads square brackets as markup
        return name.replace("[", "\\[") + _readings(losses)


def _readings(values: dict[str, Any]) -> str:
    return "  ".join(f"{name.partition('/')[2]} {float(value):.3f}" for name, value in values.items())
