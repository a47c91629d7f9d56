"""The same prompts, rendered to audio again at every numbered checkpoint and at the end: progress one can hear."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn

from calm.audio import write
from calm.safety import stamp
from calm.training.ema import EMA
from calm.training.sharding import whole
from calm.training.steps import step_of, window_ends
from calm.types import Task, Waveform

__all__ = ["Render", "SampleRenderer", "Score"]

#: (prompt, task, seed) -> audio
Render = Callable[[str, Task, int], Waveform]
#: rows of (task, prompt, clip) -> numbers to log, by name
Score = Callable[[Sequence[tuple[Task, str, Waveform]]], Mapping[str, float]]


class SampleRenderer(Callback):
    """Writes ``samples/step-N/TASK-I.wav`` with the averaged weights and fixed seeds.

    Args:
        folder: where the folders ``step-N`` go.
        prompts: texts by task.
        every_steps: optimizer steps between renderings.
        make: gets the root and returns the function that renders one prompt with it.
        ema: the averaged weights.
        model_name: for the record of origin in the files.
        score: turns the clips of one rendering into numbers, which are logged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        prompts: dict[str, list[str]],
        every_steps: int,
        make: Callable[[LightningModule], Render],
        ema: EMA,
        model_name: str,
        score: Score | None = None,
    ) -> None:
        self.folder, self.every_steps, self.make, self.ema, self.model_name = folder, every_steps, make, ema, model_name
        self.score = score
        self.prompts = [
            (Task.parse(task), index, text) for task, texts in prompts.items() for index, text in enumerate(texts)
        ]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if window_ends(trainer) and step_of(trainer) % self.every_steps == 0:
            self._render(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if step_of(trainer) % self.every_steps:
            self._render(trainer, pl_module)

    def _render(self, trainer: Trainer, pl_module: LightningModule) -> None:
        step = step_of(trainer)
        if self.prompts:
            # All ranks take part: where the weights are sharded, each has a slice of them.
            with self.ema.averaged(pl_module), evaluating(pl_module), torch.no_grad(), whole(pl_module):
                if trainer.is_global_zero:
                    self._log(trainer, self.render(pl_module, step=step), step=step)
        trainer.strategy.barrier("samples")

    def _log(self, trainer: Trainer, clips: list[tuple[Task, str, Waveform]], *, step: int) -> None:
        values = {} if self.score is None else self.score(clips)
        for logger in trainer.loggers if values else []:
            logger.log_metrics(values, step=step - 1)  # Lightning numbers a step by those before it

    def render(self, root: LightningModule, *, step: int) -> list[tuple[Task, str, Waveform]]:
        """Render and write every prompt; return task, prompt and clip of each."""
        render, clips = self.make(root), []
        for task, index, text in self.prompts:
            provenance = stamp(model=f"{self.model_name} at step {step}", task=task, seed=index)
            path = self.folder / f"step-{step:08d}" / f"{task}-{index}.wav"
            clips.append((task, text, render(text, task, index)))
            write(path, clips[-1][-1], provenance=provenance)
        return clips


@contextmanager
def evaluating(root: nn.Module) -> Iterator[None]:
    """Put every module into eval mode for the length of a ``with`` block, then each back into its own."""
    modes = [(module, module.training) for module in root.modules()]
    root.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
