"""Choices of fine-tuning with LoRA. Records only; nothing here imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from calm.errors import ConfigError

__all__ = ["LoRAConfig"]


@dataclass(frozen=True, kw_only=True)
class LoRAConfig:
    """Low-rank adaptation (Hu et al., 2021): W + (alpha / rank) B A, with W frozen."""

    #: "none" trains all weights; "lora" trains the matrices A and B, and the parts of ``trained_parts``
    name: Literal["none", "lora"] = "none"
    #: rows of A and columns of B
    rank: int = 8
    alpha: float = 16.0
    #: linear layers of the backbone, by the last word of their names
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    #: parts that are trained whole besides: head, audio, expert, text
    trained_parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for key in ("targets", "trained_parts"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        for key, fits, allowed in (
            ("rank", self.rank >= 1, "1 or more"),
            ("alpha", 0 < self.alpha < math.inf, "a finite number above 0"),
            ("targets", bool(self.targets), "names of linear layers, at least one"),
        ):
            if not fits:
                raise ConfigError(f"{key} is {getattr(self, key)}", where=f"lora.{key}", allowed=allowed)
