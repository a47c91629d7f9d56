"""`speech_ffn`: A-MoME, one more FFN at speech positions, added beside the shared one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from calm.expert.base import Expert
from calm.expert.residual_ffn import ResidualFFN, ResidualFFNConfig, chosen_layers, own_stream
from calm.registry import register
from calm.types import Task

__all__ = ["SpeechFFN"]


@register("expert", "speech_ffn")
class SpeechFFN(Expert):
    """A-MoME: a residual FFN per layer at the audio rows of speech, free for sound and music."""

    @dataclass(frozen=True, kw_only=True)
    class Config(ResidualFFNConfig):
        name: Literal["speech_ffn"] = "speech_ffn"

    def __init__(self, config: Config, *, dim: int, ffn_dim: int, num_layers: int) -> None:
        super().__init__()
        chosen, generator = chosen_layers(config, num_layers=num_layers), own_stream()
        width = int(ffn_dim * config.width_ratio)
        self.layers = frozenset(chosen)
        self.tasks = frozenset({Task.SPEECH})
        self.ffns = nn.ModuleDict({str(layer): ResidualFFN(dim, width, generator=generator) for layer in chosen})

    def forward(self, layer: int, rows: Tensor, task: Task) -> Tensor:
        return self.ffns[str(layer)](rows)
