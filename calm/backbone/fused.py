"""Layers for inference that need fewer operations: a pass of few rows is bound by their number as much as by their size.

Queries, keys and values are one product, and so are gate and projection; queries and keys are normalised and rotated
together. The results are those of `calm.backbone.layers`, but for rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from calm.backbone.attention import attend
from calm.backbone.cache import Cache
from calm.backbone.layers import Attention, FeedForward, RMSNorm, Rotary
from calm.part import linear_of

__all__ = ["fuse"]


def fuse(backbone: nn.Module) -> None:
    """Replace norms, attention and FFN of every layer in place, for inference only: their weights get other names."""
    for parent in list(backbone.modules()):
        for name, child in list(parent.named_children()):
            projections = [inner for key, inner in child.named_children() if key.endswith("_proj")]
            if type(child) in _FUSED and all(type(inner) is nn.Linear for inner in projections):
                setattr(parent, name, _FUSED[type(child)](child))


class FusedNorm(nn.Module):
    """`RMSNorm` as x / sqrt(|x|^2 + D eps), which is two operations on few numbers and two on all; sqrt(D) is in ``weight``.

    Args:
        weight: [D] of a norm, or [H, D] of several side by side.
    """

    def __init__(self, weight: Tensor, *, eps: float) -> None:
        super().__init__()
        dim = weight.shape[-1]
        self.register_buffer("weight", weight.detach() * dim**0.5)
        self.register_buffer("floor", weight.new_tensor((dim * eps) ** 0.5))

    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x / torch.hypot(length, self.floor) * self.weight


class FusedAttention(nn.Module):
    """`Attention` whose queries and keys are made, normalised and rotated together."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        queries, keys, values = attention.q_proj, attention.k_proj, attention.v_proj
        self.head_dim = attention.head_dim
        self.num_heads, self.num_kv_heads = (p.out_features // self.head_dim for p in (queries, keys))
        self.qkv_proj, self.o_proj = _join(queries, keys, values), attention.o_proj
        scales = attention.q_norm.weight.expand(self.num_heads, -1), attention.k_norm.weight.expand(self.num_kv_heads, -1)
        self.norm = FusedNorm(torch.cat(scales), eps=attention.q_norm.eps)

    def forward(self, x: Tensor, *, rotary: Rotary, mask, layer: int, cache: Cache | None) -> Tensor:
        heads = rearrange(self.qkv_proj(x), "b n (h d) -> b n h d", d=self.head_dim)
        turned, v = heads.split([self.num_heads + self.num_kv_heads, self.num_kv_heads], dim=2)
        cos, sin = rotary.whole
        turned = self.norm(turned).transpose(1, 2)
        turned = torch.addcmul(turned * cos, turned.roll(self.head_dim // 2, dims=-1), sin)
        q, k = turned.split([self.num_heads, self.num_kv_heads], dim=1)
        v = v.transpose(1, 2)
        y = attend(q, k, v, mask) if cache is None else cache.attend(layer, q, k, v, mask)
        return self.o_proj(rearrange(y, "b h n d -> b n (h d)"))


class FusedFeedForward(nn.Module):
    """`FeedForward` whose gate and projection are one product."""

    def __init__(self, ffn: FeedForward) -> None:
        super().__init__()
        self.gate_up_proj, self.down_proj = _join(ffn.gate_proj, ffn.up_proj), ffn.down_proj

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


_FUSED = {
    Attention: FusedAttention,
    FeedForward: FusedFeedForward,
    RMSNorm: lambda norm: FusedNorm(norm.weight, eps=norm.eps),
}


def _join(*linears: nn.Linear) -> nn.Linear:
    """One layer with the outputs of several of one input, one behind the other."""
    return linear_of(torch.cat([each.weight.detach() for each in linears]), trained=False)
