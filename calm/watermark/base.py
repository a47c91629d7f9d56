"""What a watermark says of a clip."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Detection"]


@dataclass(frozen=True, kw_only=True)
class Detection:
    """``score`` grows with the evidence for a mark; ``found`` from ``threshold`` on."""

    score: float
    threshold: float

    @property
    def found(self) -> bool:
        return self.score >= self.threshold
