"""How the draws of some steps become batches: by a number of clips, or by a budget of padded frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from calm.errors import ConfigError

__all__ = ["Batching", "ByClips", "ByFrames"]


class Batching(Protocol):
    """Cuts draws that are sorted by length. What it is given is ``size`` of each clip, in ascending order."""

    def size(self, seconds: float) -> int:
        """What a clip costs in a batch whose longest clip it is."""
        ...

    def num_clips(self, num_steps: int) -> int | None:
        """Return how many clips so many batches hold; None where that depends on the clips."""
        ...

    def fits(self, sizes: Sequence[int], num_steps: int) -> bool:
        """Whether so many batches can hold these clips; never again once it is False for a part of them."""
        ...

    def cut(self, sizes: Sequence[int], num_steps: int) -> list[int]:
        """Return the clips of each batch, shortest first, where one clip more would not have fitted."""
        ...

    def typical(self, seconds: Sequence[float]) -> float:
        """Roughly the clips of a batch, for clips of these lengths."""
        ...


@dataclass(frozen=True)
class ByClips:
    """The same number of clips in every global batch."""

    clips: int

    def size(self, seconds: float) -> int:
        return 1

    def num_clips(self, num_steps: int) -> int:
        return num_steps * self.clips

    def fits(self, sizes: Sequence[int], num_steps: int) -> bool:
        return len(sizes) <= num_steps * self.clips

    def cut(self, sizes: Sequence[int], num_steps: int) -> list[int]:
        return [self.clips] * num_steps

    def typical(self, seconds: Sequence[float]) -> float:
        return self.clips


@dataclass(frozen=True, kw_only=True)
class ByFrames:
    """As many clips as fit: clips times padded frames of the longest is at most ``max_frames`` in a global batch.

    Every batch has at least ``least`` clips: so many of the longest fit.

    Args:
        max_frames: padded latent frames of a global batch.
        longest_seconds: of the clips, after cutting.
        frame_rate: latents a second.
        frame_multiple: batches are padded to a multiple of this many latents.

    Raises ConfigError where not even one longest clip fits.
    """

    max_frames: int
    longest_seconds: float
    frame_rate: float
    frame_multiple: int

    def __post_init__(self) -> None:
        self.check_ranks(1)

    @property
    def least(self) -> int:
        return self.max_frames // self.size(self.longest_seconds)

    def check_ranks(self, world_size: int) -> None:
        """Raise ConfigError unless every rank gets a clip of each batch."""
        if self.least < world_size:
            longest = self.size(self.longest_seconds)
            raise ConfigError(
                f"A budget of {self.max_frames} frames holds {self.least} clips as long as the longest ({longest} frames "
                f"padded), too few for {world_size} process{'es' if world_size > 1 else ''}",
                where="data.max_frames_per_batch",
                allowed=f"{world_size * longest} or more",
                hint="raise the budget, or lower data.max_seconds",
            )

    def size(self, seconds: float) -> int:
        # The tiny part taken off keeps 2.0 s at 12.5 Hz from becoming 26 frames by a rounding error.
        frames = max(1, math.ceil(seconds * self.frame_rate - 1e-6))
        return -(-frames // self.frame_multiple) * self.frame_multiple

    def num_clips(self, num_steps: int) -> None:
        return None

    def fits(self, sizes: Sequence[int], num_steps: int) -> bool:
        # From the longest on, every batch takes what it can: no other way needs fewer batches.
        left = len(sizes)
        for _ in range(num_steps):
            if left > 0:
                left -= self.max_frames // sizes[left - 1]
        return left <= 0

    def cut(self, sizes: Sequence[int], num_steps: int) -> list[int]:
        # One clip more did not fit, and every batch but the last holds `least` clips or more, so there are at least
        # `num_steps * least` of them. Leaving `least` for each batch to come keeps the last from being a mere rest.
        left, least, counts = len(sizes), self.least, []
        for to_come in range(num_steps - 1, -1, -1):
            counts.append(min(self.max_frames // sizes[left - 1], left - least * to_come))
            left -= counts[-1]
        return counts[::-1]

    def typical(self, seconds: Sequence[float]) -> float:
        return self.max_frames * len(seconds) / max(1, sum(map(self.size, seconds)))
