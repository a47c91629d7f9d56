"""Layers for inference that need fewer operations: a pass of few rows is bound by their number as much as by their size.

Queries, keys and values are one product, and so are gate and projection; queries and keys are normalised and rotated
together; what lies before and behind the attention of a layer can be one call each. The results are those of
`calm.backbone.layers`, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calm.backbone.attention import attend
from calm.backbone.base import Residual
from calm.backbone.cache import Cache
from calm.backbone.layers import Attention, FeedForward, Layer, RMSNorm, Rotary
from calm.backbone.transformer import Transformer
from calm.part import linear_of
from calm.scripted import Scripted

__all__ = ["fuse", "script"]


def fuse(backbone: nn.Module) -> None:
    """Replace layers and norms in place, for inference only: their weights get other names.

    A layer with a projection that is no plain linear one stays, but for its norms.
    """
    for parent in list(backbone.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is Layer and _is_plain(child):
                setattr(parent, name, FusedLayer(child))
            elif type(child) is RMSNorm:
                setattr(parent, name, FusedNorm.of(child))


def script(backbone: nn.Module) -> None:
    """Make one call of what lies before, and one of what lies behind, the attention of every fused layer; keep angles.

    For a backbone whose weights are packed, or stay as they are, from now on.
    """
    if isinstance(backbone, Transformer):
        backbone.angles = KeptAngles(backbone.angles)
    for module in backbone.modules():
        if isinstance(module, FusedLayer):
            module.script()


class KeptAngles:
    """Rotary angles of the positions [B, N] that were last asked for: the passes of a block share theirs."""

    def __init__(self, make: Callable[..., Rotary]) -> None:
        self._make = make
        self._kept: tuple[Tensor, Rotary] | None = None

    def __call__(self, positions: Tensor, *, dtype: torch.dtype) -> Rotary:
        # Read once: another thread may keep others meanwhile.
        kept = self._kept
        if kept is None or kept[0] is not positions:
            kept = self._kept = positions, self._make(positions, dtype=dtype)
        return kept[1]


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

    @classmethod
    def of(cls, norm: RMSNorm) -> FusedNorm:
        return cls(norm.weight, eps=norm.eps)

    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x / torch.hypot(length, self.floor) * self.weight


class FusedLayer(nn.Module):
    """`Layer` in three steps: what attention reads, attention, and the rest."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.before, self.behind = _Before(layer.input_layernorm, layer.self_attn), _Behind(layer)
        self._steps: tuple[Callable, Callable] = self.before, self.behind

    def script(self) -> None:
        """Make each step but attention one call."""
        self._steps = Scripted(self.before), Scripted(self.behind)

    def forward(
        self, x: Tensor, *, rotary: Rotary, mask, layer: int, residual: Residual | None, cache: Cache | None
    ) -> Tensor:
        before, behind = self._steps
        q, k, v = before(x, *rotary.whole)
        heard = attend(q, k, v, mask) if cache is None else cache.attend(layer, q, k, v, mask)
        normed, x = behind(x, heard)
        return x if residual is None else residual(layer, normed, x)


class _Before(nn.Module):
    """Queries, keys and values [B, H, N, d] of rows [B, N, D]: made, normalised and rotated together."""

    def __init__(self, norm: RMSNorm, attention: Attention) -> None:
        super().__init__()
        queries, keys, values = attention.q_proj, attention.k_proj, attention.v_proj
        self.head_dim = attention.head_dim
        self.num_heads, self.num_kv_heads = (p.out_features // self.head_dim for p in (queries, keys))
        self.norm, self.qkv_proj = FusedNorm.of(norm), _join(queries, keys, values)
        scales = attention.q_norm.weight.expand(self.num_heads, -1), attention.k_norm.weight.expand(self.num_kv_heads, -1)
        self.head_norm = FusedNorm(torch.cat(scales), eps=attention.q_norm.eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = self.qkv_proj(self.norm(x)).view(x.shape[0], x.shape[1], -1, self.head_dim)
        turned, v = heads.split([self.num_heads + self.num_kv_heads, self.num_kv_heads], dim=2)
        turned = self.head_norm(turned).transpose(1, 2)
        turned = torch.addcmul(turned * cos, turned.roll(self.head_dim // 2, dims=-1), sin)
        q, k = turned.split([self.num_heads, self.num_kv_heads], dim=1)
        return q, k, v.transpose(1, 2)


class _Behind(nn.Module):
    """What a layer makes of its rows [B, N, D] and of what they heard [B, H, N, d]: the FFN's input, and the rows."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.o_proj, self.norm = layer.self_attn.o_proj, FusedNorm.of(layer.post_attention_layernorm)
        self.mlp = FusedFeedForward(layer.mlp)

    def forward(self, x: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
        x = x + self.o_proj(heard.transpose(1, 2).flatten(2))
        normed = self.norm(x)
        return normed, x + self.mlp(normed)


class FusedFeedForward(nn.Module):
    """`FeedForward` whose gate and projection are one product."""

    def __init__(self, ffn: FeedForward) -> None:
        super().__init__()
        self.gate_up_proj, self.down_proj = _join(ffn.gate_proj, ffn.up_proj), ffn.down_proj

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


def _is_plain(layer: Layer) -> bool:
    """Whether all projections are linear layers and nothing more (an adapter beside one is)."""
    parts = layer.self_attn, layer.mlp
    named = (pair for part in parts for pair in part.named_children())
    return all(type(child) is nn.Linear for name, child in named if name.endswith("_proj"))


def _join(*linears: nn.Linear) -> nn.Linear:
    """One layer with the outputs of several of one input, one behind the other."""
    return linear_of(torch.cat([each.weight.detach() for each in linears]), trained=False)
