"""Windowed self-attention: every row sees a fixed band of neighbours, offline and streamed alike."""

from __future__ import annotations

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["State", "TransformerLayer", "WindowedAttention"]

#: What a stream carries from push to push: module -> its past. A fresh dict is the start of a clip.
State = dict[nn.Module, Any]

# Rows are attended to in blocks of at least this many, so that a narrow band does not mean many tiny products.
MIN_BLOCK = 16
MASKED = -1e4


class WindowedAttention(nn.Module):
    """Multi-head attention in which row n sees rows n - ``before`` .. n + ``after``.

    Cost and result of a row do not depend on the clip's length. Positions enter by a learned bias per
    head and distance, which starts as a preference for near rows (ALiBi, arXiv 2108.12409).

    Args:
        dim: D. num_heads: H. before, after: rows seen on each side, besides the row itself.
    """

    def __init__(self, dim: int, *, num_heads: int, before: int, after: int = 0) -> None:
        super().__init__()
        self.num_heads, self.before, self.after = num_heads, before, after
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        distance = torch.arange(-before, after + 1).abs()
        slopes = torch.logspace(0, -4, num_heads, base=2.0)
        self.bias = nn.Parameter(-slopes[:, None] * distance)

    def forward(self, x: Tensor, state: State | None = None) -> Tensor:
        """Attend within x [B, N, D]. With a ``state`` (causal layers only) x continues what came before."""
        num_rows = x.shape[1]
        q, k, v = rearrange(self.qkv(x), "b n (three h e) -> three b h n e", three=3, h=self.num_heads)
        past = 0
        if state is not None:
            assert self.after == 0, "only a causal layer can be streamed"
            if self in state:
                past = state[self][0].shape[2]
                k, v = (torch.cat([old, new], dim=2) for old, new in zip(state[self], (k, v), strict=True))
            state[self] = (k[:, :, -self.before :], v[:, :, -self.before :])
        block = max(self.before, self.after, MIN_BLOCK)
        block = block if num_rows >= block else num_rows
        right = -num_rows % block
        window = self.before + block + self.after
        q = rearrange(F.pad(q, (0, 0, 0, right)).unfold(2, block, block), "b h c e r -> b h c r e")
        edges = (0, 0, self.before - past, right + self.after)
        k, v = (rearrange(F.pad(t, edges).unfold(2, window, block), "b h c e w -> b h c w e") for t in (k, v))
        seen = torch.zeros(past + num_rows, device=x.device, dtype=x.dtype)
        seen = F.pad(seen, edges[2:], value=MASKED).unfold(0, window, block)  # [c, w]
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        scores = scores + self._band(block).unsqueeze(1) + seen[:, None, :]
        y = rearrange(scores.softmax(dim=-1) @ v, "b h c r e -> b (c r) (h e)")
        return self.out(y[:, :num_rows])

    def _band(self, block: int) -> Tensor:
        """Return the additive mask [H, block, window]: the bias inside the band, ``MASKED`` outside."""
        window = self.before + block + self.after
        rows = torch.arange(block, device=self.bias.device)[:, None]
        offset = torch.arange(window, device=self.bias.device) - rows
        inside = (offset >= 0) & (offset < self.bias.shape[1])
        band = self.bias[:, offset.clamp(0, self.bias.shape[1] - 1)]
        return band.masked_fill(~inside, MASKED)


class TransformerLayer(nn.Module):
    """Pre-norm windowed attention followed by a feed-forward network of width ``expansion * dim``."""

    def __init__(self, dim: int, *, num_heads: int, before: int, after: int, expansion: int = 2) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = WindowedAttention(dim, num_heads=num_heads, before=before, after=after)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, expansion * dim), nn.GELU(), nn.Linear(expansion * dim, dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, N, D] to [B, N, D]."""
        x = x + self.attention(self.norm(x))
        return x + self.feed_forward(x)
