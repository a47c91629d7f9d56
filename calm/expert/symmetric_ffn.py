"""`symmetric_ffn`: one residual FFN per task, the mixture of experts that A-MoME is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from calm.expert.base import Expert
from calm.expert.residual_ffn import ResidualFFN, ResidualFFNConfig, chosen_layers, own_stream
from calm.registry import register
from calm.types import TASKS, Task

__all__ = ["SymmetricFFN"]


@register("expert", "symmetric_ffn")
class SymmetricFFN(Expert):
    """Symmetric experts: a residual FFN per layer and task, each at the audio rows of its task."""

    @dataclass(frozen=True, kw_only=True)
    class Config(ResidualFFNConfig):
        name: Literal["symmetric_ffn"] = "symmetric_ffn"

    def __init__(self, config: Config, *, dim: int, ffn_dim: int, num_layers: int) -> None:
        super().__init__()
        chosen, generator = chosen_layers(config, num_layers=num_layers), own_stream()
        width = int(ffn_dim * config.width_ratio)
        self.layers = frozenset(chosen)
        self.tasks = frozenset(TASKS)
        # Speech first: its FFNs start as those of `speech_ffn` do.
        self.ffns = nn.ModuleDict(
            {
                str(task): nn.ModuleDict({str(layer): ResidualFFN(dim, width, generator=generator) for layer in chosen})
                for task in TASKS
            }
        )

    def forward(self, layer: int, rows: Tensor, task: Task) -> Tensor:
        return self.ffns[task][str(layer)](rows)
