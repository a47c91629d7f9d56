"""What a run sees in training: clips and supervised frames, counted from the plan of its data."""

from __future__ import annotations

from dataclasses import dataclass

from calm.config import RunConfig
from calm.data.datamodule import CalmDataModule
from calm.data.latents import num_frames
from calm.types import TASKS

__all__ = ["Budget", "count_budget"]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Training of one run by task: clips drawn and their latent frames, each once, however many noisy copies it has."""

    clips: dict[str, int]
    frames: dict[str, int]

    @property
    def all_frames(self) -> int:
        return sum(self.frames.values())


def count_budget(config: RunConfig, data: CalmDataModule) -> Budget:
    """Count what the run of ``config`` draws in all its steps; ``data`` is its data module."""
    data.setup("fit")
    plan, shards = data.source.plan, data.source.shards
    clips, frames = ({str(task): 0 for task in TASKS} for _ in range(2))
    for step in range(config.trainer.max_steps * config.trainer.grad_accum_steps):
        for draw in plan.batch(step):
            seconds = min(shards.rows[draw.row].clip.seconds, data.cut.seconds)
            clips[str(draw.task)] += 1
            frames[str(draw.task)] += num_frames(round(seconds * data.sample_rate), data.hop)
    return Budget(clips=clips, frames=frames)
