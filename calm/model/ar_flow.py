"""`ar_flow`: the flow runs in the backbone. The default reading of the paper.

    [reference] [text] [clean blocks 0..n-1] [noisy copy 1] ... [noisy copy M]

The noisy block itself goes through the backbone at every ODE step, attending to the cached clean past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

from calm.model.branch import Branch, fill, filling, frame_times
from calm.model.flow import Targets, block_times
from calm.model.generator import Generator, GeneratorConfig
from calm.model.prompt import Prompt
from calm.model.rollout import JointRollout, Rollout
from calm.registry import register
from calm.sequence import training_rows

__all__ = ["ARFlow"]

CLEAN_SEGMENT, NOISY_SEGMENT = 2, 3


@register("model", "ar_flow")
class ARFlow(Generator):
    """In-backbone flow: noisy blocks run through the backbone, a thin head reads the velocity (the paper)."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GeneratorConfig):
        name: Literal["ar_flow"] = "ar_flow"

    def predict(
        self, prompt: Prompt, targets: Targets, *, history: Tensor, history_time: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        prefix, prefix_rows = self.embed_prefix(prompt)
        num_copies, num_frames = targets.noisy.shape[1:3]
        clean = self.embed_audio(history, history_time, segment=CLEAN_SEGMENT)
        noisy = self.embed_audio(
            rearrange(targets.noisy, "b m (n k) c -> b m n k c", k=targets.block_size),
            block_times(targets.time, targets.block_size),
            segment=NOISY_SEGMENT,
        )
        rows = training_rows(
            prefix_rows,
            start=self.target_start(prompt),
            num_blocks=targets.num_blocks,
            block_size=targets.block_size,
            num_valid=targets.num_valid,
            num_copies=num_copies,
        )
        x = torch.cat([prefix, clean, rearrange(noisy, "b m n k d -> b (m n k) d")], dim=1)
        hidden, idle = self.pass_sequences(x, rows, prompt)
        _, clean_hidden, noisy_hidden = hidden.split([prefix.shape[1], num_frames, num_copies * num_frames], dim=1)
        velocity = self._read(noisy_hidden, targets)
        return velocity, self.stop(clean_hidden), idle

    def _read(self, hidden: Tensor, targets: Targets) -> Tensor:
        """Head over all noisy blocks: [B, (M F), D] -> velocity [B, M, F, C]."""
        k = targets.block_size
        velocity = self.head(
            rearrange(hidden, "b (m n k) d -> b m n k d", k=k, n=targets.num_blocks),
            noisy=rearrange(targets.noisy, "b m (n k) c -> b m n k c", k=k).to(hidden.dtype),
            time=block_times(targets.time, k),
        )
        return rearrange(velocity, "b m n k c -> b m (n k) c")

    def open(self, prompt: Prompt, **options) -> Branch:
        return ARFlowBranch(self, Rollout(self, prompt, **options))

    def join(self, branches: Sequence[ARFlowBranch]) -> Branch:
        return _JointBranch(self, branches)


class ARFlowBranch(Branch):
    """Every velocity is a pass of K noisy rows against the cache; every append a pass of K clean rows.

    The clean rows of one block and the noisy ones of the next can share a pass: noisy rows see the clean, never the reverse.
    """

    def __init__(self, model: ARFlow, rollout: Rollout | JointRollout) -> None:
        self.model, self.rollout = model, rollout

    def velocity(self, noisy: Tensor, time: Tensor, span: Tensor | None = None) -> Tensor:
        assert span is None, "the backbone knows no averages"
        frames = frame_times(noisy, time)
        x = self.model.embed_audio(noisy, frames, segment=NOISY_SEGMENT)
        hidden = self.rollout.run(x)
        return self.model.head(hidden, noisy=noisy.to(hidden.dtype), time=frames)

    def append(self, block: Tensor, *, time: Tensor | float = 1.0) -> Tensor:
        x = self.model.embed_audio(block, frame_times(block, time), segment=CLEAN_SEGMENT)
        hidden = self.rollout.run(x)
        self.rollout.commit()
        return self.model.stop(hidden)

    @property
    def can_begin(self) -> bool:
        return not self.rollout.slides

    def append_and_begin(
        self, block: Tensor, noise: Tensor, *, time: Tensor | float = 1.0
    ) -> tuple[Tensor, Tensor]:
        begin = frame_times(noise, 0.0)
        clean = self.model.embed_audio(block, frame_times(block, time), segment=CLEAN_SEGMENT)
        noisy = self.model.embed_audio(noise, begin, segment=NOISY_SEGMENT)
        hidden, next_hidden = self.rollout.run_with_next(torch.cat([clean, noisy], dim=1)).chunk(2, dim=1)
        self.rollout.commit()
        return self.model.stop(hidden), self.model.head(next_hidden, noisy=noise.to(hidden.dtype), time=begin)


class _JointBranch(ARFlowBranch):
    """One over several, with filling."""

    def __init__(self, model: ARFlow, branches: Sequence[ARFlowBranch]) -> None:
        rollouts = [branch.rollout for branch in branches]
        self._count = filling(sum(len(rollout.task) for rollout in rollouts), rollouts[0].block_size)
        super().__init__(model, JointRollout(model, rollouts, num_filling=self._count))

    def velocity(self, noisy: Tensor, time: Tensor, span: Tensor | None = None) -> Tensor:
        given = [fill(x, self._count) for x in (noisy, time, span) if x is not None]
        return super().velocity(*given)[: len(noisy)]

    def append(self, block: Tensor, *, time: Tensor | float = 1.0) -> Tensor:
        time = fill(time, self._count) if isinstance(time, Tensor) else time
        return super().append(fill(block, self._count), time=time)[: len(block)]

    def append_and_begin(
        self, block: Tensor, noise: Tensor, *, time: Tensor | float = 1.0
    ) -> tuple[Tensor, Tensor]:
        time = fill(time, self._count) if isinstance(time, Tensor) else time
        stop, velocity = super().append_and_begin(fill(block, self._count), fill(noise, self._count), time=time)
        return stop[: len(block)], velocity[: len(block)]
