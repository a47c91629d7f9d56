"""What the tests of engines train: the tiny generator, on batches of which rank 1 of two never has speech."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, IterableDataset

from calm.training.sharding import full
from calm.types import Batch
from tests.factory import tiny_batch

TASKS_OF_RANK = ([0, 0, 1], [1, 2, 2])


def batch_of(step: int, rank: int) -> Batch:
    batch = tiny_batch(TASKS_OF_RANK[rank], frames=8, reference_frames=4, seed=100 * step + rank)
    return dataclasses.replace(batch, step=step)


class Stream(IterableDataset):
    def __init__(self, rank: int, *, start: int, stop: int | None) -> None:
        self.rank, self.start, self.stop = rank, start, stop

    def __iter__(self):
        step = self.start
        while self.stop is None or step < self.stop:
            yield batch_of(step, self.rank)
            step += 1


class TinyData(LightningDataModule):
    """Batch number n of a rank is a pure function of both; the next n is the only state."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank, self.next_step = rank, 0

    def train_dataloader(self):
        return DataLoader(Stream(self.rank, start=self.next_step, stop=None), batch_size=None)

    def val_dataloader(self):
        return DataLoader(Stream(self.rank, start=10_000, stop=10_002), batch_size=None)

    def state_dict(self):
        return {"next_step": self.next_step}

    def load_state_dict(self, state_dict):
        self.next_step = state_dict["next_step"]


class Dump(Callback):
    """Writes all that training changes, without slices, at the start (where a run was resumed) or at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer, pl_module):
        if trainer.global_step:
            self._write(trainer, pl_module)

    def on_train_end(self, trainer, pl_module):
        self._write(trainer, pl_module)

    @torch.no_grad()
    def _write(self, trainer, pl_module):
        named = dict(pl_module.named_parameters())
        state = trainer.optimizers[0].state
        found = {f"model/{name}": full(p.detach()).clone() for name, p in named.items()}
        found |= {
            f"{key}/{name}": full(value).clone() for name, p in named.items() for key, value in state.get(p, {}).items()
        }
        ema = next(callback for callback in trainer.callbacks if type(callback).__name__ == "EMA")
        found |= {f"averaged/{name}": full(value).clone() for name, value in ema.shadow.items()}
        if trainer.is_global_zero and not self.path.exists():
            torch.save(found, self.path)
