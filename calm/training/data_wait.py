"""How long a run waits for its data, beside its losses: is the loader what limits it?"""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from calm.training.steps import step_of, window_ends

__all__ = ["DATA_WAIT", "DataWait"]

DATA_WAIT = "time/data_wait"


class DataWait(Callback):
    """Logs the share of the time since it last did, 0 to 1, for which the first process waited for batches.

    The first batch, for which the workers start, is left out. On a GPU the host runs ahead of the device, so a
    small share may cost nothing; near 1 the loader sets the pace (more ``data.num_workers``, or latents).
    """

    def __init__(self) -> None:
        self._since: tuple[float, float] | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._since is None:
            self._since = self._read(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._since is None or not window_ends(trainer) or step_of(trainer) % trainer.log_every_n_steps:
            return
        now, (began, had_waited) = self._read(trainer), self._since
        pl_module.log(DATA_WAIT, (now[1] - had_waited) / max(now[0] - began, 1e-9))
        self._since = now

    def _read(self, trainer: Trainer) -> tuple[float, float]:
        """Seconds now, and seconds waited so far; none where the loader does not count them."""
        return time.perf_counter(), getattr(trainer.train_dataloader, "waited_seconds", 0.0)
