"""The residual FFN that experts are made of, and the choices that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calm.errors import ConfigError
from calm.part import linear_of

__all__ = ["ResidualFFN", "ResidualFFNConfig", "chosen_layers", "own_stream"]


@dataclass(frozen=True, kw_only=True)
class ResidualFFNConfig:
    """How wide the FFNs are, and where they stand."""

    #: width of each FFN relative to the backbone's FFN
    width_ratio: float = 0.5
    #: which backbone layers have one
    layers: Literal["all", "every_2", "every_4", "last_half"] = "all"

    def __post_init__(self) -> None:
        if not 0 < self.width_ratio < float("inf"):
            what = f"width_ratio is {self.width_ratio}"
            raise ConfigError(what, where="expert.width_ratio", allowed="a finite number above 0")


class ResidualFFN(nn.Module):
    """SwiGLU whose down-projection starts at zero, so that switching the expert on is an exact no-op."""

    def __init__(self, dim: int, width: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.gate_up_proj = linear_of(torch.empty(2 * width, dim))
        self.down_proj = linear_of(torch.empty(dim, width))
        nn.init.normal_(self.gate_up_proj.weight, std=0.02, generator=generator)
        nn.init.zeros_(self.down_proj.weight)

    def forward(self, rows: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(rows).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


def chosen_layers(config: ResidualFFNConfig, *, num_layers: int) -> range:
    """Return the layers that have an expert; raises ConfigError where the backbone is too shallow for any."""
    chosen = {
        "all": range(num_layers),
        "every_2": range(1, num_layers, 2),
        "every_4": range(3, num_layers, 4),
        "last_half": range(num_layers // 2, num_layers),
    }[config.layers]
    if not chosen:
        raise ConfigError(f"A backbone of {num_layers} layers has none of '{config.layers}'", where="expert.layers")
    return chosen


def own_stream() -> torch.Generator:
    """Random numbers for an expert's initial weights, apart from torch's own.

    A model with an expert so starts from exactly the weights of the same model without one: runs that differ
    in the expert alone differ in nothing else.
    """
    return torch.Generator().manual_seed((torch.initial_seed() + 1) % 2**63)
