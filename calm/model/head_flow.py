"""`head_flow`: the flow runs in the head. The cheap reading, and the ablation everyone asks for.

    [reference] [text] [start block] [clean blocks 0..n-1]

The backbone sees only the clean past, once per block; row i of one block conditions frame i of the
next, and a small network runs all ODE steps (MAR, Li et al., 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from calm.errors import ConfigError
from calm.head import FlowHead
from calm.model.branch import Branch, fill, filling, frame_times
from calm.model.flow import Targets, block_times, normal, uniform
from calm.model.generator import Generator, GeneratorConfig
from calm.model.halves import Halves
from calm.model.prompt import Prompt
from calm.model.rollout import JointRollout, Rollout
from calm.registry import register
from calm.sequence import training_rows

__all__ = ["HeadFlow"]

CLEAN_SEGMENT = 2
#: Euler steps by which the model draws its own history in training
NUM_OWN_STEPS = 2


@register("model", "head_flow")
class HeadFlow(Generator):
    """In-head flow: the backbone runs once per block, a small network conditioned on it runs the ODE."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GeneratorConfig):
        name: Literal["head_flow"] = "head_flow"
        #: share of samples whose history the model draws anew itself, block by block after the true ones: its own errors,
        #: which nothing tells, as in generation (parallel scheduled sampling, Duckworth et al., 2019). Any share above 0
        #: costs another pass, forward only
        own_history_probability: float = 0.0

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.own_history_probability <= 1:
                where, found = "model.own_history_probability", self.own_history_probability
                raise ConfigError(f"own_history_probability is {found}", where=where, allowed="0 to 1")

    def __init__(self, config: Config, **parts) -> None:
        super().__init__(config, **parts)
        self.start = nn.Parameter(0.02 * torch.randn(self.backbone.dim))

    def start_block(self, batch_size: int, block_size: int) -> Tensor:
        """The learned rows that stand before the first block, [B, K, D]; rotary positions tell them apart."""
        return repeat(self.start, "d -> b k d", b=batch_size, k=block_size)

    def predict(
        self, prompt: Prompt, targets: Targets, *, history: Tensor, history_time: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        hidden, stop_logits, idle = self.condition(prompt, targets, history=history, history_time=history_time)
        velocity = self.read(hidden, targets.noisy, targets.time, block_size=targets.block_size)
        return velocity, stop_logits, idle

    def condition(
        self, prompt: Prompt, targets: Targets, *, history: Tensor, history_time: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One pass of the backbone: what the head needs of every frame [B, F, D], stop logits [B, F], the idle term."""
        prefix, prefix_rows = self.embed_prefix(prompt)
        k = targets.block_size
        clean = self.embed_audio(history, history_time, segment=CLEAN_SEGMENT)
        rows = training_rows(
            prefix_rows,
            start=self.target_start(prompt),
            num_blocks=targets.num_blocks + 1,
            block_size=k,
            num_valid=targets.num_valid + k,
            num_copies=0,
        )
        x = torch.cat([prefix, self.start_block(len(prompt), k), clean], dim=1)
        hidden, idle = self.pass_sequences(x, rows, prompt)
        hidden = hidden[:, prefix.shape[1] :]
        return hidden[:, :-k], self.stop(hidden[:, k:]), idle

    def histories(self, prompt: Prompt, targets: Targets, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        history, time = super().histories(prompt, targets, generator)
        if not (self.training and self.config.own_history_probability):
            return history, time
        draws = uniform((len(prompt), 2), targets.latents, generator)
        chosen = draws[:, :1] < self.config.own_history_probability
        own = self.redrawn(prompt, targets, start=draws[:, 1], generator=generator)
        return torch.where(chosen[..., None], own, history), torch.where(chosen, 1.0, time)

    @torch.no_grad()
    def redrawn(
        self, prompt: Prompt, targets: Targets, *, start: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """Every block [B, F, C] anew, given the true ones before it: from time ``start`` [B] of its way in a few Euler
        steps, so that what is drawn is another sound (0) or nearly the same (1)."""
        whole = torch.ones_like(start)[:, None]
        hidden, _, _ = self.condition(prompt, targets, history=targets.latents, history_time=whole)
        truth, step = targets.latents[:, None], (1 - start[:, None, None]) / NUM_OWN_STEPS
        t = start[:, None, None].expand(truth.shape[:3])
        x = torch.lerp(normal(truth.shape, truth, generator), truth, t[..., None])
        for _ in range(NUM_OWN_STEPS):
            x = x + step[..., None] * self.read(hidden, x, t, block_size=targets.block_size).to(x)
            t = t + step
        return x[:, 0]

    def read(
        self,
        hidden: Tensor,
        noisy: Tensor,
        time: Tensor,
        *,
        block_size: int,
        span: Tensor | None = None,
        bare: Tensor | None = None,
        head: FlowHead | None = None,
    ) -> Tensor:
        """Head over all blocks and noisy copies: hidden [B, F, D], noisy [B, M, F, C] -> velocity [B, M, F, C].

        ``time`` and ``span``: [B, M, F], one value a block. ``bare``: states of the unconditional branch, for a head
        that reads both. ``head`` stands in for the model's own.
        """
        k = block_size
        given = {} if span is None else {"span": block_times(span, k)}
        if bare is not None:
            given["bare"] = repeat(bare, "b (n k) d -> b m n k d", k=k, m=noisy.shape[1])
        velocity = (head or self.head)(
            repeat(hidden, "b (n k) d -> b m n k d", k=k, m=noisy.shape[1]),
            noisy=rearrange(noisy, "b m (n k) c -> b m n k c", k=k).to(hidden.dtype),
            time=block_times(time, k),
            **given,
        )
        return rearrange(velocity, "b m n k c -> b m (n k) c")

    def open(self, prompt: Prompt, *, block_size: int, **options) -> Branch:
        rollout = Rollout(self, prompt, block_size=block_size, **options)
        hidden = rollout.run(self.start_block(len(prompt), block_size))
        rollout.commit()
        return HeadFlowBranch(self, rollout, hidden)

    def join(self, branches: Sequence[HeadFlowBranch]) -> Branch:
        return _JointBranch(self, branches)


class HeadFlowBranch(Branch):
    """Every velocity is a pass of the head only; every append one pass of K rows through the backbone.

    Args:
        hidden: states [B, K, D] of the backbone that condition the current block.
        sizes: rows of each of the branches that it joins; all are one branch by default.
    """

    def __init__(
        self, model: HeadFlow, rollout: Rollout | JointRollout, hidden: Tensor, *, sizes: Sequence[int] | None = None
    ) -> None:
        self.model, self.rollout, self.hidden = model, rollout, hidden
        self._halves = Halves(sizes or [len(hidden)], like=hidden) if model.head.reads_both else None
        self._state: Tensor | None = None

    def velocity(self, noisy: Tensor, time: Tensor, span: Tensor | None = None) -> Tensor:
        halves, head = self._halves, self.model.head
        if self._state is None:
            self._state = head.read(self.hidden) if halves is None else head.read(*halves.split(self.hidden))
        if halves is not None:
            noisy, time, span = (None if x is None else halves.conditional(x) for x in (noisy, time, span))
        frames = {"time": frame_times(noisy, time)}
        if span is not None:
            frames["span"] = frame_times(noisy, span)
        velocity = head.step(self._state, noisy=noisy.to(self.hidden.dtype), **frames)
        return velocity if halves is None else halves.for_all(velocity)

    def append(self, block: Tensor, *, time: Tensor | float = 1.0) -> Tensor:
        self.hidden = self.rollout.run(self.model.embed_audio(block, frame_times(block, time), segment=CLEAN_SEGMENT))
        self._state = None
        self.rollout.commit()
        return self.model.stop(self.hidden)


class _JointBranch(HeadFlowBranch):
    """One over several, with filling; leaves every one with the states of its own rows."""

    def __init__(self, model: HeadFlow, branches: Sequence[HeadFlowBranch]) -> None:
        rollouts, hidden = [branch.rollout for branch in branches], torch.cat([branch.hidden for branch in branches])
        self._branches, self._count = tuple(branches), filling(len(hidden), hidden.shape[1])
        rollout, sizes = JointRollout(model, rollouts, num_filling=self._count), [len(branch.hidden) for branch in branches]
        super().__init__(model, rollout, fill(hidden, self._count), sizes=sizes)

    def velocity(self, noisy: Tensor, time: Tensor, span: Tensor | None = None) -> Tensor:
        given = [fill(x, self._count) for x in (noisy, time, span) if x is not None]
        return super().velocity(*given)[: len(noisy)]

    def append(self, block: Tensor, *, time: Tensor | float = 1.0) -> Tensor:
        time = fill(time, self._count) if isinstance(time, Tensor) else time
        stop = super().append(fill(block, self._count), time=time)[: len(block)]
        parts = self.hidden[: len(block)].split([len(branch.hidden) for branch in self._branches])
        for branch, hidden in zip(self._branches, parts, strict=True):
            branch.hidden, branch._state = hidden, None
        return stop
