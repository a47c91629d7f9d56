"""What the checks look at, each thing opened once: the configuration, the model, the shards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

import torch

from calm.config import RunConfig
from calm.data.batching import ByFrames
from calm.data.shards import ShardSet
from calm.data.sources import open_sources
from calm.doctor.hardware import Hardware
from calm.doctor.stage import StepCount, stage_work
from calm.errors import CalmError
from calm.model.build import build_outline
from calm.model.checkpoint import without_weights
from calm.model.generator import Generator
from calm.part import Part
from calm.types import TASKS, Task

__all__ = ["Case"]

Opened = TypeVar("Opened")


class Case:
    """A run before it starts. What cannot be opened is None, and ``problems`` holds the error by name.

    Names: ``weights`` (the model cannot be built with those that the configuration names), ``backbone`` (nor with its
    backbone's alone), ``model`` (nor without any), ``data.train``, ``data.validation``.
    """

    def __init__(self, config: RunConfig, *, hardware: Hardware | None = None) -> None:
        self.config = config
        #: what days are told for
        self.hardware = Hardware() if hardware is None else hardware
        self.problems: dict[str, CalmError] = {}

    @cached_property
    def root(self) -> Part | None:
        """The model: its VAE with its weights where they can be read, and else with random ones; all else as shapes."""
        own = dataclasses.replace(self.config, vae_ckpt_path=None, pretrained_ckpt_path=None, objective=None)
        configs = {"weights": self.config, "backbone": own, "model": without_weights(self.config)}
        for name, config in configs.items():
            root = self._open(name, lambda config=config: _build(config))
            if root is not None:
                return root
            if any(error.what == self.problems[name].what for key, error in self.problems.items() if key != name):
                del self.problems[name]  # said already
        return None

    @property
    def has_weights(self) -> bool:
        """Whether the weights that the configuration names were read."""
        return self.root is not None and "weights" not in self.problems

    @property
    def generator(self) -> Generator | None:
        """The model where it is one that speaks; None for the stage that trains a VAE."""
        return self.root if isinstance(self.root, Generator) else None

    @cached_property
    def train(self) -> ShardSet | None:
        """The training shards. A source that streams needs no index, and then there is nothing to open."""
        return None if self._sources is None else self._sources[0]

    @property
    def source_of(self) -> list[int]:
        """The number of the source of each training clip; empty without shards."""
        return [] if self._sources is None else self._sources[1]

    @cached_property
    def _sources(self) -> tuple[ShardSet, list[int]] | None:
        return self._open("data.train", lambda: open_sources(self.config.data.train_sources)) if self.is_planned else None

    @cached_property
    def validation(self) -> ShardSet | None:
        """The validation shards; None also where the configuration names none."""
        spec = self.config.data.validation
        return self._open("data.validation", lambda: ShardSet.open(spec)) if spec else None

    def seconds_of(self, task: Task) -> list[float]:
        """Lengths of a task's training clips, cut to the maximum; half the maximum where no shards tell."""
        most = self.config.data.max_seconds
        rows = [] if self.train is None else self.train.by_task[task]
        return [min(self.train.rows[row].clip.seconds, most) for row in rows] or [most / 2]

    @cached_property
    def budget(self) -> ByFrames | None:
        """The budget of frames of a batch; None where a batch is a number of clips. Raises ConfigError."""
        config = self.config.data
        if config.max_frames_per_batch is None or self.root is None:
            return None
        clips = [] if self.train is None else [row.clip.seconds for row in self.train.rows]
        return ByFrames(
            max_frames=config.max_frames_per_batch,
            longest_seconds=min(config.max_seconds, max(clips, default=config.max_seconds)),
            frame_rate=self.root.vae.frame_rate,
            frame_multiple=config.frame_multiple,
        )

    @cached_property
    def clips_per_batch(self) -> float:
        """Clips of a global batch; with a budget of frames the average, roughly: of every task as many."""
        budget = self._open("data.max_frames_per_batch", lambda: self.budget)
        if budget is None or not self.trained_tasks:
            return self.config.data.batch_size
        means = [sum(map(budget.size, seconds)) / len(seconds) for seconds in map(self.seconds_of, self.trained_tasks)]
        return budget.max_frames * len(means) / sum(means)

    @cached_property
    def stage_work(self) -> list[tuple[int, StepCount]]:
        """Stretches of a stage that trains a VAE: (optimizer steps, count of one clip); empty for a generator."""
        return [] if self.root is None or self.generator is not None else stage_work(self.config)

    @property
    def is_planned(self) -> bool:
        """Whether the source reads indexed shards."""
        return self.config.data.source.get("name") != "webdataset"

    @property
    def ranks_per_node(self) -> int:
        """Training processes on one node; ``auto`` counts the devices of this machine."""
        devices = self.config.trainer.devices
        if devices.isdigit():
            return max(1, int(devices))
        if "," in devices:
            return len([one for one in devices.split(",") if one.strip()])
        on_cpu = self.config.trainer.accelerator == "cpu"
        return max(1, 0 if on_cpu else torch.cuda.device_count())

    @property
    def world_size(self) -> int:
        """Training processes in all."""
        return self.ranks_per_node * self.config.trainer.num_nodes

    @property
    def on_cpu(self) -> bool:
        """Whether the run would train on the CPU of this machine."""
        accelerator = self.config.trainer.accelerator
        return accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())

    @property
    def device(self) -> str:
        """Type of the devices that the run would train on: "cpu" or "cuda"."""
        return "cpu" if self.on_cpu else "cuda"

    @property
    def trained_tasks(self) -> list[Task]:
        """Tasks that some phase of the run draws."""
        phases = [phase for phase, _, _ in self.phases]
        return [task for task in TASKS if any(phase.task_weights.get(str(task), 0.0) > 0 for phase in phases)]

    @property
    def phases(self) -> list[tuple]:
        """The phases that the run reaches: (phase, first step, step after the last)."""
        found, first, total = [], 0, self.config.trainer.max_steps
        for phase in self.config.curriculum.phases:
            last = total if phase.until_step is None else min(total, phase.until_step)
            if first < last:
                found.append((phase, first, last))
            first = max(first, last)
        return found

    def _open(self, name: str, work: Callable[[], Opened]) -> Opened | None:
        try:
            return work()
        except CalmError as error:
            self.problems[name] = error
            return None


def _build(config: RunConfig) -> Part:
    """Build without moving torch's own random numbers on."""
    with torch.random.fork_rng():
        return build_outline(config)
