"""`rectified_flow`: the thin head of AR-Flow. The backbone has denoised already; the head reads it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from calm.head.base import FlowHead, TimeEmbedding, modulate
from calm.registry import register
from calm.scripted import Scripted

__all__ = ["RectifiedFlowHead"]


@register("head", "rectified_flow")
class RectifiedFlowHead(FlowHead):
    """Thin flow head for `ar_flow`: norm, AdaLN on t, a small MLP and a linear to the latent width."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["rectified_flow"] = "rectified_flow"
        #: width of the MLP relative to D
        width_ratio: float = 1.0

    timed = ("time", "adaln")

    def __init__(self, config: Config, *, dim: int, latent_dim: int) -> None:
        super().__init__()
        width = int(dim * config.width_ratio)
        self.time = TimeEmbedding(dim)
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.adaln = nn.Linear(dim, 2 * dim)
        self.mlp = nn.Sequential(nn.Linear(dim, width), nn.SiLU(), nn.Linear(width, dim))
        # The noisy latent itself is the larger part of the velocity at early times: a straight path
        # for it leaves the hidden state free for what has to be inferred.
        self.skip = nn.Linear(latent_dim, latent_dim)
        self.out = nn.Linear(dim, latent_dim)
        for layer in (self.adaln, self.skip, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self._scripted: Scripted | None = None

    def script(self) -> None:
        self._scripted = Scripted(_ReadOut(self))

    def remember_times(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        self.time, self.adaln = wrap(nn.Sequential(self.time, self.adaln)), nn.Identity()

    def forward(self, hidden: Tensor, *, noisy: Tensor, time: Tensor, span: Tensor | None = None) -> Tensor:
        assert span is None, "this head knows no averages"
        shift, scale = self.adaln(self.time(time)).chunk(2, dim=-1)
        read_out = self._read_out if self._scripted is None else self._scripted
        return read_out(hidden, noisy, shift, scale)

    def _read_out(self, hidden: Tensor, noisy: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """``forward`` for what the time says, ``shift`` and ``scale`` [..., 1, D]."""
        x = modulate(self.norm(hidden), shift, scale)
        return self.out(x + self.mlp(x)) + self.skip(noisy)


class _ReadOut(nn.Module):
    """That step of the head alone, on the same layers."""

    def __init__(self, head: RectifiedFlowHead) -> None:
        super().__init__()
        self.norm, self.mlp, self.skip, self.out = head.norm, head.mlp, head.skip, head.out

    forward = RectifiedFlowHead._read_out
