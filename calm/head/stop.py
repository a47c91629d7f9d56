"""The stop head: does the clip end at this frame?"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["StopHead"]


class StopHead(nn.Module):
    """Logit per clean row, [..., D] -> [...]. The input is detached: stopping never shapes the audio."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim // 2), nn.SiLU(), nn.Linear(dim // 2, 1))

    def forward(self, hidden: Tensor) -> Tensor:
        return self.mlp(hidden.detach()).squeeze(-1)
