"""`speech_ffn`: A-MoME, one more FFN at speech positions, added beside the shared one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from calm.errors import ConfigError
from calm.expert.base import Expert
from calm.registry import register
from calm.types import Task

__all__ = ["SpeechFFN"]


class ResidualFFN(nn.Module):
    """SwiGLU whose down-projection starts at zero, so that switching the expert on is an exact no-op."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.gate_up_proj = nn.Linear(dim, 2 * width, bias=False)
        self.down_proj = nn.Linear(width, dim, bias=False)
        nn.init.normal_(self.gate_up_proj.weight, std=0.02)
        nn.init.zeros_(self.down_proj.weight)

    def forward(self, rows: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(rows).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


@register("expert", "speech_ffn")
class SpeechFFN(Expert):
    """A-MoME: a residual FFN per layer at the audio rows of speech, free for sound and music."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["speech_ffn"] = "speech_ffn"
        #: width of each FFN relative to the backbone's FFN
        width_ratio: float = 0.5
        #: which backbone layers have one
        layers: Literal["all", "every_2", "every_4", "last_half"] = "all"

    def __init__(self, config: Config, *, dim: int, ffn_dim: int, num_layers: int) -> None:
        super().__init__()
        chosen = {
            "all": range(num_layers),
            "every_2": range(1, num_layers, 2),
            "every_4": range(3, num_layers, 4),
            "last_half": range(num_layers // 2, num_layers),
        }[config.layers]
        if not chosen:
            raise ConfigError(f"A backbone of {num_layers} layers has none of '{config.layers}'", where="expert.layers")
        self.layers = frozenset(chosen)
        self.tasks = frozenset({Task.SPEECH})
        self.ffns = nn.ModuleDict({str(layer): ResidualFFN(dim, int(ffn_dim * config.width_ratio)) for layer in chosen})

    def forward(self, layer: int, rows: Tensor) -> Tensor:
        return self.ffns[str(layer)](rows)
