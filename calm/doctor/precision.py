"""Bytes of a number, by Lightning's name of the precision."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Precision"]


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Bytes of weights, of what products give, and of what norms and the residual stream are in."""

    weights: int
    products: int
    norms: int

    @property
    def is_mixed(self) -> bool:
        """Whether products are made in fewer bits than the weights have (autocast)."""
        return self.products < self.weights

    @classmethod
    def of(cls, name: str) -> Precision:
        """``32-true``, ``bf16-mixed``, ``16-mixed``, ``bf16-true``, ``16-true``, ``64-true``; others count as 32."""
        if name.endswith("-mixed"):
            return cls(weights=4, products=2, norms=4)
        if name.endswith("-true"):
            size = {"64": 8, "16": 2, "bf16": 2}.get(name.removesuffix("-true"), 4)
            return cls(weights=size, products=size, norms=size)
        return cls(weights=4, products=4, norms=4)
