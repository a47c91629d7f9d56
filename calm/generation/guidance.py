"""Classifier-free guidance (Ho & Salimans, 2022). Convention: v = v_u + w (v_c - v_u), so w = 1 is off."""

from __future__ import annotations

from collections.abc import Callable

from einops import reduce
from torch import Tensor

__all__ = ["GUIDANCE"]


def _cfg(conditional: Tensor, unconditional: Tensor, scale: Tensor) -> Tensor:
    return unconditional + scale * (conditional - unconditional)


def _cfg_zero_star(conditional: Tensor, unconditional: Tensor, scale: Tensor) -> Tensor:
    """CFG-Zero* (Fan et al., 2025): the unconditional velocity is first scaled onto the conditional one."""
    dot = reduce(conditional * unconditional, "b k c -> b 1 1", "sum")
    norm = reduce(unconditional.square(), "b k c -> b 1 1", "sum").clamp_min(1e-8)
    return _cfg(conditional, dot / norm * unconditional, scale)


#: name -> f(conditional [B, K, C], unconditional [B, K, C], scale [B, 1, 1]) -> velocity [B, K, C]
GUIDANCE: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"cfg": _cfg, "cfg_zero_star": _cfg_zero_star}
