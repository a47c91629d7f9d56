"""``history.csv``: every logged number of a run in one small file, exact across interruptions.

Columns: ``step`` (optimizer steps completed), ``seconds`` (training time so far), ``name``, ``value``.
"""

from __future__ import annotations

import csv
import io
import math
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from calm.audio.files import write_bytes
from calm.training.steps import step_of

__all__ = ["History", "HistoryRow", "KeepHistory", "read_history"]

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
        done, seconds = (step or 0) + 1, time.monotonic() - self._origin
        rows = [(done, seconds, name, float(value)) for name, value in metrics.items() if name != "epoch"]
        with open(self.path, "a", encoding="utf-8", newline="") as file:
            file.write(_format(row for row in rows if math.isfinite(row[3])))

    @rank_zero_only
    def rewind(self, step: int) -> None:
        """Forget what lies after ``step``: a resumed run repeats those steps. At step 0 the file is new."""
        kept = [row for row in read_history(self.path) if row[0] <= step] if step else []
        header = ",".join(COLUMNS) + "\n"
        write_bytes(self.path, (header + _format(kept)).encode())
        self._origin = time.monotonic() - (kept[-1][1] if kept else 0.0)


class KeepHistory(Callback):
    """Ties `History` to the run. Must be the first callback."""

    def __init__(self, history: History) -> None:
        self.history = history

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.history.rewind(step_of(trainer))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Lightning logs the last value of a name again where a step has none (a batch without speech).
        trainer.fit_loop._results.reset()


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
