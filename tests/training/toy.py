"""A root small enough to train in milliseconds, with an expert that gathers speech rows, and endless toy data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from calm.config import RunConfig
from calm.part import Part
from calm.training.config import CurriculumConfig, LoggerConfig, OptimConfig, Phase, TrainerConfig
from calm.types import TASKS, Task

DIM = 6


@dataclass(frozen=True, kw_only=True)
class ToyBatch:
    """x [B, D], task [B]."""

    x: Tensor
    task: Tensor
    keys: tuple[str, ...]
    step: int

    def to(self, *args: Any, **kwargs: Any) -> ToyBatch:
        return self

    def __len__(self) -> int:
        return len(self.x)


class ToyRoot(Part):
    """Regression with dropout: shared layers, and one layer more for the rows of speech."""

    def __init__(self, noise: float = 0.2) -> None:
        super().__init__()
        self.noise = noise
        self.backbone = nn.Linear(DIM, DIM)
        self.expert = nn.Linear(DIM, DIM)
        self.head = nn.Sequential(nn.LayerNorm(DIM), nn.Dropout(noise), nn.Linear(DIM, DIM))
        self.frozen = nn.Linear(DIM, DIM).requires_grad_(False)
        self.expert_enabled = True
        self.rows_seen: list[int] = []

    def param_groups(self) -> list[dict[str, Any]]:
        parts = {"backbone": self.backbone, "expert": self.expert, "head": self.head}
        return [{"part": name, "params": list(module.parameters())} for name, module in parts.items()]

    def losses(self, batch: ToyBatch, *, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        hidden = self.backbone(batch.x)
        index = (batch.task == Task.SPEECH.id).nonzero().squeeze(1) if self.expert_enabled else torch.empty(0).long()
        self.rows_seen.append(len(index))
        hidden = hidden.index_add(0, index, self.expert(hidden[index]))
        noise = torch.randn(hidden.shape, generator=generator)
        errors = (self.head(hidden) - self.frozen(batch.x) + self.noise * noise).square().mean(dim=1)
        readings = {f"flow_{task}": errors[batch.task == task.id].mean() for task in TASKS if task.id in batch.task}
        return {"loss": errors.mean(), **readings}

    def errors_by_noise(self, batch: ToyBatch, *, num_bins: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        total, count = torch.zeros(len(TASKS), num_bins), torch.zeros(len(TASKS), num_bins)
        errors = (self.head(self.backbone(batch.x)) - self.frozen(batch.x)).square().mean(dim=1)
        total[:, 0].index_add_(0, batch.task, errors)
        count[:, 0].index_add_(0, batch.task, torch.ones(len(batch)))
        return total, count


def toy_batch(step: int, *, rank: int = 0, tasks: tuple[int, ...] = (0, 1, 2, 2)) -> ToyBatch:
    generator = torch.Generator().manual_seed(1000 * rank + step)
    x = torch.randn(len(tasks), DIM, generator=generator)
    return ToyBatch(x=x, task=torch.tensor(tasks), keys=tuple(f"clip-{step}-{i}" for i in range(len(tasks))), step=step)


class _Stream(IterableDataset):
    def __init__(self, data: ToyData, *, start: int, stop: int | None) -> None:
        self.data, self.start, self.stop = data, start, stop

    def __iter__(self) -> Iterator[ToyBatch]:
        step = self.start
        while self.stop is None or step < self.stop:
            yield self.data.make(step)
            step += 1


class ToyData(LightningDataModule):
    """Batch number n is a pure function of n; the next n is the only state."""

    def __init__(self, make: Any = toy_batch) -> None:
        super().__init__()
        self.make, self.next_step = make, 0
        self.served: list[int] = []

    def train_dataloader(self) -> DataLoader:
        return DataLoader(_Stream(self, start=self.next_step, stop=None), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(_Stream(self, start=10_000, stop=10_002), batch_size=None)

    def state_dict(self) -> dict[str, int]:
        return {"next_step": self.next_step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.next_step = state_dict["next_step"]


class FollowData(Callback):
    """Moves the data's state with the batch that was trained on, whatever was prefetched."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: ToyBatch, batch_idx: int) -> None:
        trainer.datamodule.next_step = batch.step + 1
        trainer.datamodule.served.append(batch.step)


def toy_root(seed: int = 0, *, noise: float = 0.2) -> ToyRoot:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ToyRoot(noise)


TWO_PHASES = CurriculumConfig(phases=[Phase(name="shared", until_step=4, expert="off"), Phase(name="joint", expert="on")])


@dataclass(frozen=True, kw_only=True)
class ToyModelConfig:
    name: str = "toy"


def toy_config(run_dir: Path, *, ckpt_path: str | None = None, curriculum: Any = TWO_PHASES, **trainer: Any) -> RunConfig:
    settings = {"max_steps": 10, "val_every_steps": 0, "save_every_steps": 100, "log_every_steps": 1, **trainer}
    return RunConfig(
        name="toy",
        run_dir=run_dir,
        ckpt_path=ckpt_path,
        model=ToyModelConfig(),
        curriculum=curriculum,
        optim=OptimConfig(learning_rate=1e-2, warmup_steps=3, weight_decay=0.1),
        trainer=TrainerConfig(**{"accelerator": "cpu", "devices": "1", **settings}),
        logger=LoggerConfig(name="csv"),
    )
