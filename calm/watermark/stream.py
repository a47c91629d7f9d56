"""Marking audio that comes piece by piece."""

from __future__ import annotations

import torch
from torch import Tensor

from calm.errors import InputError
from calm.watermark.embedder import CONTEXT_FRAMES, Strength, addition
from calm.watermark.levels import hop_of

__all__ = ["MarkStream"]


class MarkStream:
    """The pieces that ``push`` and ``finish`` return are together what ``embed`` makes of the whole.

    Samples come out 22 frames of 8 ms, 0.18 s, after they went in, and up to a frame more.

    Args:
        lattice: signs of the key, from ``calm.watermark.lattice.signs``.
    """

    def __init__(self, lattice: Tensor, *, sample_rate: int, channels: int, strength: Strength) -> None:
        self._lattice, self._rate, self._strength = lattice, sample_rate, strength
        self._hop = hop_of(sample_rate)
        self._held = torch.zeros(channels, 0)
        #: whether anything was marked so far: silence is left as it is
        self.changed = False
        self._first_frame = self._given = 0  # where the held samples begin, in hops; how many of them are given out

    def push(self, audio: Tensor) -> Tensor:
        """Take the next samples [A, S], S from 0 on; return those that are marked by now [A, S']."""
        if audio.ndim != 2 or audio.shape[0] != len(self._held):
            raise InputError(f"The piece has the shape {list(audio.shape)}", where="MarkStream.push", allowed=f"[{len(self._held)}, S]")
        self._held = torch.cat([self._held, audio.detach().cpu().float()], dim=1)
        return self._give(self._held.shape[1] // self._hop - CONTEXT_FRAMES)

    def finish(self) -> Tensor:
        """Return the rest [A, S']; nothing can be pushed afterwards."""
        return self._give(-(-self._held.shape[1] // self._hop))

    def _give(self, until: int) -> Tensor:
        """Samples up to a hop; what is needed to mark the next ones stays."""
        begin = self._given * self._hop
        if until <= self._given:
            return self._held[:, :0]
        added = addition(
            self._held, sample_rate=self._rate, lattice=self._lattice, strength=self._strength, first_frame=self._first_frame
        )
        marked = (self._held + added)[:, begin : until * self._hop]
        self.changed |= bool(added[:, begin : until * self._hop].any())
        self._given = until
        passed = max(0, until - CONTEXT_FRAMES)
        self._held = self._held[:, passed * self._hop :]
        self._first_frame, self._given = self._first_frame + passed, self._given - passed
        return marked
