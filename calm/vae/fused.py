"""Layers of the decoder for inference that need fewer operations: a push is a few rows, and each operation has its price.

Convolutions take rows as they lie: a depthwise one is a sum over its taps, another one a product; attention reads its
mask out of a table.
The results are those of `calm.vae.layers` and `calm.vae.attention`, but for rounding.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from calm.vae.attention import MIN_BLOCK, State, WindowedAttention
from calm.vae.layers import CausalConv

__all__ = ["fuse"]


def fuse(decoder: nn.Module) -> None:
    """Replace convolutions and attention of a causal decoder in place, for inference only: their weights get other names."""
    for parent in list(decoder.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is CausalConv:
                depthwise = child.conv.groups == child.conv.in_channels
                setattr(parent, name, (DepthwiseConv if depthwise else DenseConv)(child))
            elif type(child) is WindowedAttention:
                setattr(parent, name, FusedAttention(child))


class FusedConv(nn.Module):
    """Abstract `CausalConv` whose past is kept as rows."""

    def __init__(self, causal: CausalConv) -> None:
        super().__init__()
        self.context = causal.context
        self.register_buffer("bias", causal.conv.bias.detach())

    def forward(self, x: Tensor, state: State) -> Tensor:
        past = state[self] if self in state else x.new_zeros(len(x), self.context, x.shape[2])
        rows = torch.cat([past, x], dim=1)
        state[self] = rows[:, x.shape[1] :]
        return self.convolve(rows)

    @abstractmethod
    def convolve(self, rows: Tensor) -> Tensor:
        """Map [B, ``context`` + N, D] to [B, N, D']."""


class DepthwiseConv(FusedConv):
    """One channel each: row n is the sum of rows n - ``context`` .. n, each by a weight per channel."""

    def __init__(self, causal: CausalConv) -> None:
        super().__init__(causal)
        self.register_buffer("taps", rearrange(causal.conv.weight.detach(), "d 1 k -> k 1 d").contiguous())

    def convolve(self, rows: Tensor) -> Tensor:
        windows = rearrange(rows.unfold(1, self.context + 1, 1), "b n d k -> b k n d")
        return (windows * self.taps).sum(dim=1) + self.bias


class DenseConv(FusedConv):
    """All channels together: a product with rows n - ``context`` .. n side by side."""

    def __init__(self, causal: CausalConv) -> None:
        super().__init__(causal)
        self.register_buffer("weight", causal.conv.weight.detach().flatten(1))  # [D', (D K)]

    def convolve(self, rows: Tensor) -> Tensor:
        return F.linear(rows.unfold(1, self.context + 1, 1).flatten(2), self.weight, self.bias)


class FusedAttention(nn.Module):
    """Causal `WindowedAttention`. What a row hears depends on distance alone, so any mask is a part of one table."""

    def __init__(self, attention: WindowedAttention) -> None:
        super().__init__()
        self.num_heads, self.before = attention.num_heads, attention.before
        self.qkv, self.out = attention.qkv, attention.out
        self.block = max(attention.before, MIN_BLOCK)
        # With an axis for the batch: without it torch takes a slower way.
        self.register_buffer("band", attention._band(self.block).detach().unsqueeze(0))  # [1, H, block, before + block]

    def forward(self, x: Tensor, state: State) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b n (three h e) -> three b h n e", three=3, h=self.num_heads)
        past = 0
        if self in state:
            past = state[self][0].shape[2]
            k, v = (torch.cat([old, new], dim=2) for old, new in zip(state[self], (k, v), strict=True))
        state[self] = (k[:, :, -self.before :], v[:, :, -self.before :])
        heard = [self._attend(rows, k, v, past + self.block * i) for i, rows in enumerate(q.split(self.block, dim=2))]
        return self.out(rearrange(torch.cat(heard, dim=2), "b h n e -> b n (h e)"))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, start: int) -> Tensor:
        """What rows q, the first of which is row ``start`` of k and v, hear of those up to ``before`` rows back."""
        first, num_rows = max(0, start - self.before), q.shape[2]
        seen = slice(first, start + num_rows)
        band = self.band[:, :, :num_rows, self.before - (start - first) : self.before + num_rows]
        return F.scaled_dot_product_attention(q, k[:, :, seen], v[:, :, seen], attn_mask=band)
