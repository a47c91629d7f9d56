"""Layers of the transformer: rotary positions, grouped-query attention with QK-norm, SwiGLU."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from calm.backbone.attention import attend
from calm.backbone.base import Residual
from calm.backbone.cache import Cache

__all__ = ["Layer", "RMSNorm", "Rotary", "rotary"]


@dataclass(frozen=True, kw_only=True, eq=False)  # hashed by identity: torch.compile hashes what it sees called
class Rotary:
    """Cosines and sines of rotary angles, both [B, 1, N, d/2]."""

    cos: Tensor
    sin: Tensor

    @functools.cached_property
    def whole(self) -> tuple[Tensor, Tensor]:
        """Factors [B, 1, N, d] of a head and of the head with its halves exchanged; their sum is the rotation."""
        return torch.cat([self.cos, self.cos], dim=-1), torch.cat([-self.sin, self.sin], dim=-1)

    def __call__(self, x: Tensor) -> Tensor:
        """Rotate x [B, H, N, d]; pairs are (i, i + d/2), as in Qwen3."""
        first, second = x.chunk(2, dim=-1)
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def rotary(positions: Tensor, *, head_dim: int, base: float, dtype: torch.dtype) -> Rotary:
    """Rotary position embedding (Su et al., 2021) for positions [B, N].

    Angles are computed in at least float32: in bfloat16 neighbouring positions would coincide.
    """
    exact = torch.promote_types(dtype, torch.float32)
    exponent = torch.arange(0, head_dim, 2, device=positions.device, dtype=exact) / head_dim
    angle = positions[:, None, :, None].to(exact) * base**-exponent
    return Rotary(cos=angle.cos().to(dtype), sin=angle.sin().to(dtype))


class RMSNorm(nn.RMSNorm):
    """RMSNorm whose weight follows the input's type: under autocast the mixture has no fused kernel."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Grouped-query attention with RMS-normalised queries and keys (Qwen3)."""

    def __init__(self, dim: int, *, num_heads: int, num_kv_heads: int, head_dim: int, norm_eps: float) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.q_proj = nn.Linear(dim, num_heads * head_dim, bias=False)
        self.k_proj = nn.Linear(dim, num_kv_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(dim, num_kv_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(num_heads * head_dim, dim, bias=False)
        self.q_norm = RMSNorm(head_dim, eps=norm_eps)
        self.k_norm = RMSNorm(head_dim, eps=norm_eps)

    def forward(self, x: Tensor, *, rotary: Rotary, mask, layer: int, cache: Cache | None) -> Tensor:
        q, k, v = (
            rearrange(project(x), "b n (h d) -> b h n d", d=self.head_dim)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotary(self.q_norm(q)), rotary(self.k_norm(k))
        y = attend(q, k, v, mask) if cache is None else cache.attend(layer, q, k, v, mask)
        return self.o_proj(rearrange(y, "b h n d -> b n (h d)"))


class FeedForward(nn.Module):
    """SwiGLU (Shazeer, 2020)."""

    def __init__(self, dim: int, *, ffn_dim: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dim, ffn_dim, bias=False)
        self.up_proj = nn.Linear(dim, ffn_dim, bias=False)
        self.down_proj = nn.Linear(ffn_dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Pre-norm transformer layer. The expert's residual meets it after the shared FFN."""

    def __init__(
        self, dim: int, *, num_heads: int, num_kv_heads: int, head_dim: int, ffn_dim: int, norm_eps: float
    ) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(dim, eps=norm_eps)
        self.self_attn = Attention(
            dim, num_heads=num_heads, num_kv_heads=num_kv_heads, head_dim=head_dim, norm_eps=norm_eps
        )
        self.post_attention_layernorm = RMSNorm(dim, eps=norm_eps)
        self.mlp = FeedForward(dim, ffn_dim=ffn_dim)

    def forward(
        self, x: Tensor, *, rotary: Rotary, mask, layer: int, residual: Residual | None, cache: Cache | None
    ) -> Tensor:
        normed, x = self.body(x, rotary=rotary, mask=mask, layer=layer, cache=cache)
        return x if residual is None else residual(layer, normed, x)

    def body(self, x: Tensor, *, rotary: Rotary, mask, layer: int, cache: Cache | None) -> tuple[Tensor, Tensor]:
        """All but the expert: what the FFN read, and what left it. `calm.training.compilation` compiles it."""
        x = x + self.self_attn(self.input_layernorm(x), rotary=rotary, mask=mask, layer=layer, cache=cache)
        normed = self.post_attention_layernorm(x)
        return normed, x + self.mlp(normed)
