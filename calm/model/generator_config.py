"""Choices of a generator that both readings of AR-Flow share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from calm.errors import ConfigError

__all__ = ["GeneratorConfig"]

#: rows of a clip's sequence from which FlexAttention is the faster kernel on an H200 (docs/SPEED.md)
FLEX_ROWS = 3072


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Choices that both models share."""

    #: K; one is drawn per training step, so that one checkpoint serves several latencies
    block_sizes: tuple[int, ...] = (4,)
    #: earlier blocks that a block may see, in training and generation; 0 for all
    num_history_blocks: int = 0
    #: M, noisy copies of every block that share one clean pass
    num_noisy_copies: int = 1
    #: probabilities of dropping conditions in training, for guidance
    drop_all: float = 0.10
    drop_text: float = 0.05
    drop_reference: float = 0.05
    #: of those that keep their text, share whose length is left open all the same; only where there is ``timing``
    drop_seconds: float = 0.2
    #: share of samples whose clean history is noised, against drift, and the largest share of noise
    history_noise_probability: float = 0.5
    history_noise_level: float = 0.15
    stop_weight: float = 0.1
    #: weight of a stop frame against a frame before the end
    stop_positive_weight: float = 5.0
    #: rotary positions of the target: behind the text, as a language model has them, or beside it: the first frame at
    #: the first row of the transcript (where its ids tell it apart, else of the text), so that a phoneme lies near the
    #: frames that say it
    target_positions: Literal["after_text", "beside_words"] = "after_text"
    #: tell the target's rows where they stand in the clip and in the beat, see `calm.model.timing`
    timing: bool = False
    #: kernel of training: "flex" (FlexAttention, CUDA only), "dense" (a bool mask), or "auto": flex for long sequences on
    #: CUDA, else dense
    attention: Literal["auto", "dense", "flex"] = "auto"
    #: rows of a sequence, about, into which clips are packed in training, so that shorter ones need no padding; 0: one
    #: clip a sequence
    pack_rows: int = 512

    def __post_init__(self) -> None:
        object.__setattr__(self, "block_sizes", tuple(self.block_sizes))
        drops, inf = ("drop_all", "drop_text", "drop_reference"), float("inf")
        for key, fits, allowed in (
            ("block_sizes", self.block_sizes and all(1 <= k <= 16 for k in self.block_sizes), "1 to 16, at least one"),
            ("num_history_blocks", self.num_history_blocks >= 0, "0 or more"),
            ("pack_rows", self.pack_rows >= 0, "0 or more"),
            ("num_noisy_copies", self.num_noisy_copies >= 1, "1 or more"),
            *((key, 0 <= getattr(self, key) <= 1, "0 to 1") for key in drops),
            ("drop_seconds", 0 <= self.drop_seconds <= 1, "0 to 1"),
            ("history_noise_probability", 0 <= self.history_noise_probability <= 1, "0 to 1"),
            ("history_noise_level", 0 <= self.history_noise_level <= 1, "0 to 1"),
            ("stop_weight", 0 <= self.stop_weight < inf, "a finite number, 0 or more"),
            ("stop_positive_weight", 0 < self.stop_positive_weight < inf, "a finite number above 0"),
        ):
            if not fits:
                raise ConfigError(f"{key} is {getattr(self, key)}", where=f"model.{key}", allowed=allowed)
        # Shares that fill the whole may exceed 1 by a rounding error.
        if (total := sum(getattr(self, key) for key in drops)) > 1 + 1e-9:
            where = ", ".join(f"model.{key}" for key in drops)
            raise ConfigError(f"Dropped shares sum to {total:g}", where=where, allowed="a sum of at most 1")

    def kernel(self, device: str, *, num_rows: int) -> Literal["dense", "flex"]:
        """The kernel of training that is meant on a type of device, for example "cuda", for so many rows a clip."""
        if self.attention != "auto":
            return self.attention
        return "flex" if device == "cuda" and num_rows >= FLEX_ROWS else "dense"
