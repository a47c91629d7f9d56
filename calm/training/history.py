"""``history.csv``: every logged number of a run in one small file, exact across interruptions (but for ``time/...``).

Columns: ``step`` (optimizer steps completed), ``seconds`` (training time so far), ``name``, ``value``.
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from calm.audio.files import write_bytes
from calm.training.steps import batches_of, step_of

__all__ = ["History", "HistoryRow", "KeepHistory", "MissedValidation", "read_history"]

COLUMNS = ["step", "seconds", "name", "value"]

HistoryRow = tuple[int, float, str, float]


class History(Logger):
    """Lightning logger that appends one row per number to a CSV file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._origin = time.monotonic()

    @property
    def name(self) -> str:
        return "history"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Choices are in config.yaml, not here."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        # Lightning counts from 0 while a step runs; a person counts what is done.
        with open(self.path, "a", encoding="utf-8", newline="") as file:
            file.write(_format(self.rows(metrics, step=(step or 0) + 1)))

    def rows(self, metrics: dict[str, Any], *, step: int) -> list[HistoryRow]:
        """Return the rows of what was read after ``step`` steps; numbers that are not finite have none."""
        seconds = time.monotonic() - self._origin
        rows = [(step, seconds, name, float(value)) for name, value in metrics.items() if name != "epoch"]
        return [row for row in rows if math.isfinite(row[3])]

    @rank_zero_only
    def rewind(self, step: int, *, saved: Sequence[HistoryRow] = ()) -> None:
        """Forget what lies after ``step``: a resumed run repeats those steps. At step 0 the file is new.

        ``saved`` are rows of the checkpoint; they are added where a kill came before they were written.
        """
        kept = [row for row in read_history(self.path) if row[0] <= step] if step else []
        there = {(row[0], row[2]) for row in kept}
        kept += [tuple(row) for row in saved if (row[0], row[2]) not in there]
        header = ",".join(COLUMNS) + "\n"
        write_bytes(self.path, (header + _format(kept)).encode())
        self._origin = time.monotonic() - (kept[-1][1] if kept else 0.0)


class KeepHistory(Callback):
    """Ties `History` to the run. Must be the first callback."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._saved: list[HistoryRow] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.history.rewind(step_of(trainer), saved=self._saved)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # Lightning logs a step after its checkpoint is written: a kill between the two would lose the losses.
        if trainer.fit_loop._results is not None and trainer._logger_connector.should_update_logs:
            metrics = trainer.fit_loop._results.metrics(on_step=True)["log"]
            checkpoint["history"] = self.history.rows(metrics, step=step_of(trainer))

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._saved = checkpoint.get("history", [])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Lightning logs the last value of a name again where a step has none (a batch without speech).
        trainer.fit_loop._results.reset()


class MissedValidation(Callback):
    """Makes up for a validation that was cut off, so that the curves of an interrupted run have no holes.

    A step's checkpoint is written before the step is validated, and Lightning takes a validation that was
    due for one that has been. Only the validation of a run's very last step is not made up for.
    """

    def __init__(self, history: History) -> None:
        self.history = history

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        step = step_of(trainer)
        is_due = trainer.enable_validation and step > 0 and batches_of(trainer) % trainer.val_check_batch == 0
        if not is_due or not trainer.strategy.broadcast(self._is_missing(step)):
            return
        connector = trainer._logger_connector
        first = connector._first_loop_iter
        trainer.validating = True  # as Lightning's own loop does it, with what it saves and puts back
        trainer.fit_loop.epoch_loop.val_loop.run()
        trainer.training = True
        connector._first_loop_iter = first

    def _is_missing(self, step: int) -> bool:
        rows = read_history(self.history.path)
        return not any(row[0] == step and row[2].startswith("val/") for row in rows)


def read_history(path: Path) -> list[HistoryRow]:
    """Return the rows of a history file in order; a line cut short by a kill is left out."""
    rows: list[HistoryRow] = []
    if not path.is_file():
        return rows
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                rows.append((int(row["step"]), float(row["seconds"]), row["name"], float(row["value"])))
            except (KeyError, TypeError, ValueError):
                continue
    return rows


def _format(rows: Any) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for step, seconds, name, value in rows:
        writer.writerow([step, f"{seconds:.3f}", name, f"{value:.6g}"])
    return buffer.getvalue()
