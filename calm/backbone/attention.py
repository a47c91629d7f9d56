"""Attention proper: the type of the mask chooses the kernel."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor

__all__ = ["attend"]

#: narrowest head that FlexAttention's kernels take
FLEX_HEAD_DIM = 16
#: never the kernel for a few queries beside a cache: left to itself torch takes it for fewer than 128 rows, and finds it
#: no tile where heads are grouped
FLEX_OPTIONS = {"BACKEND": "TRITON"}


def attend(q: Tensor, k: Tensor, v: Tensor, mask) -> Tensor:
    """Attention of q [B, H, N, d] to k, v [B, Hkv, Nk, d]; the type of the mask chooses the kernel.

    Args:
        mask: None, bool [B, N, Nk], or a FlexAttention ``BlockMask`` (CUDA).
    """
    if mask is None or isinstance(mask, Tensor):
        mask = None if mask is None else mask[:, None]
        if v.dtype is torch.bfloat16 and v.device.type == "cpu" and v.requires_grad:
            return _attend_by_products(q.to(v), k.to(v), v, mask)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=q.shape[1] != k.shape[1])
    return _attend_by_flex(q, k, v, mask)


def _attend_by_flex(q: Tensor, k: Tensor, v: Tensor, mask) -> Tensor:
    """FlexAttention; heads narrower than its kernels take are filled up with zeros, which change no product."""
    dim, missing = q.shape[-1], max(0, FLEX_HEAD_DIM - q.shape[-1])
    q, k, v = (F.pad(x, (0, missing)) if missing else x for x in (q, k, v))
    grouped = q.shape[1] != k.shape[1]
    options = {"enable_gqa": grouped, "scale": dim**-0.5, "kernel_options": FLEX_OPTIONS}
    return _flex_attention()(q, k, v, block_mask=mask, **options)[..., :dim]


def _attend_by_products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention by plain products: in bfloat16 on a CPU 4 times as fast, forward and backward, as the fused kernel."""
    groups = q.shape[1] // k.shape[1]
    k, v = (repeat(x, "b h n d -> b (h g) n d", g=groups) for x in (k, v))
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        # Not -inf: a row that sees nothing would become NaN.
        scores = scores.masked_fill(~mask, -1e4)
    return scores.softmax(dim=-1) @ v


@functools.cache
def _flex_attention():
    """FlexAttention, compiled once: called eagerly it would materialise all scores."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
