"""`mlp`: the head of `head_flow`, which runs all ODE steps itself, given the backbone's state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from calm.errors import ConfigError
from calm.head.base import FlowHead, TimeEmbedding, modulate
from calm.registry import register
from calm.scripted import Scripted

__all__ = ["MLPHead"]


class ResidualBlock(nn.Module):
    """Residual MLP with AdaLN-zero: an identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.adaln = nn.Linear(width, 3 * width)
        nn.init.zeros_(self.adaln.weight)
        nn.init.zeros_(self.adaln.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, scale, gate = self.adaln(condition).chunk(3, dim=-1)
        return x + gate * self.mlp(modulate(self.norm(x), shift, scale))


@register("head", "mlp")
class MLPHead(FlowHead):
    """Residual AdaLN MLP per frame, conditioned on the backbone's state and t (MAR, Li et al., 2024)."""

    timed = ("time",)

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["mlp"] = "mlp"
        width: int = 512
        num_blocks: int = 4
        #: "average_velocity" takes a span of time besides, for generation in a few steps (objective `mean_flow`)
        output: Literal["velocity", "average_velocity"] = "velocity"
        #: "both" reads the state of the unconditional branch besides, on which averages of a guided flow depend
        branches: Literal["conditional", "both"] = "conditional"

        def __post_init__(self) -> None:
            if self.branches == "both" and self.output != "average_velocity":
                raise ConfigError(
                    "A head of both branches has its guidance in its averages",
                    where="head.branches: both",
                    allowed="with head.output: average_velocity, or branches: conditional",
                )

    def __init__(self, config: Config, *, dim: int, latent_dim: int) -> None:
        super().__init__()
        self.time = TimeEmbedding(config.width)
        self.condition = nn.Linear(dim, config.width)
        self.embed = nn.Linear(latent_dim, config.width)
        self.blocks = nn.ModuleList(ResidualBlock(config.width) for _ in range(config.num_blocks))
        self.norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, latent_dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.averages, self.reads_both = config.output == "average_velocity", config.branches == "both"
        if self.averages:
            self.span, self.grown = TimeEmbedding(config.width), ("span",)
            self.timed = ("time", "span")
            nn.init.zeros_(self.span.mlp[-1].weight)
            nn.init.zeros_(self.span.mlp[-1].bias)
        if self.reads_both:
            self.bare, self.grown = nn.Linear(dim, config.width, bias=False), (*self.grown, "bare")
            nn.init.zeros_(self.bare.weight)
        self._scripted: Scripted | None = None

    def script(self) -> None:
        self._scripted = Scripted(_Network(self))

    def forward(
        self, hidden: Tensor, *, noisy: Tensor, time: Tensor, span: Tensor | None = None, bare: Tensor | None = None
    ) -> Tensor:
        return self.step(self.read(hidden, bare), noisy=noisy, time=time, span=span)

    def read(self, hidden: Tensor, bare: Tensor | None = None) -> Tensor:
        state = self.condition(hidden)
        return state if bare is None else state + self.bare(bare)

    def step(self, state: Tensor, *, noisy: Tensor, time: Tensor, span: Tensor | None = None) -> Tensor:
        condition = state + self.time(time)
        if self.averages:
            condition = condition + self.span(torch.zeros_like(time) if span is None else span)
        else:
            assert span is None, "this head knows no averages"
        network = self._network if self._scripted is None else self._scripted
        return network(noisy, condition)

    def _network(self, noisy: Tensor, condition: Tensor) -> Tensor:
        """``step`` with the sum of state and time."""
        condition = nn.functional.silu(condition)
        x = self.embed(noisy)
        for block in self.blocks:
            x = block(x, condition)
        return self.out(self.norm(x))


class _Network(nn.Module):
    """That step of the head alone, on the same layers."""

    def __init__(self, head: MLPHead) -> None:
        super().__init__()
        self.embed, self.blocks, self.norm, self.out = head.embed, head.blocks, head.norm, head.out

    forward = MLPHead._network
