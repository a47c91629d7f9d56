"""Silence at the end of a clip that is still growing: what may be heard already, and when to give up waiting."""

from __future__ import annotations

import numpy as np
from einops import reduce
from torch import Tensor

__all__ = ["SilenceTail"]

#: length of the pieces whose level is taken, seconds
PIECE_SECONDS = 0.02
#: nothing has begun before a piece is louder than this, dB below full scale
BEGIN_DB = -50.0
#: silence that is held back at most where no silence gate ends the clip, seconds
HELD_SECONDS = 2.0


class SilenceTail:
    """Follows the level of one clip in pieces of 20 ms, counted from its start: how it is cut changes nothing.

    A piece is silent where its level is more than ``threshold_db`` below the loudest piece so far. Before the first loud
    piece everything may go out: a pause at the start is no tail.

    Args:
        margin_seconds: silence that stays behind the last loud piece; 0 keeps the whole tail.
        limit_seconds: the clip ends where silence has lasted so long after it began; 0 for never.
    """

    def __init__(self, sample_rate: int, *, threshold_db: float, margin_seconds: float, limit_seconds: float) -> None:
        self._piece = max(1, round(PIECE_SECONDS * sample_rate))
        self._threshold_db = threshold_db
        self._margin = round(margin_seconds * sample_rate) if margin_seconds else None
        self._limit = max(1, round(limit_seconds * sample_rate / self._piece)) if limit_seconds else None
        self._held = round((limit_seconds or HELD_SECONDS) * sample_rate)
        self._rest = np.zeros(0, dtype=np.float32)
        self._loudest, self._last_loud, self._judged, self._heard = BEGIN_DB, 0, 0, 0
        self.ended = False

    @property
    def ready(self) -> int:
        """Samples from the start of the clip that belong to it whatever follows."""
        if self.ended:
            return min(self._kept(self._judged), self._judged)
        return self._kept(self._heard)

    def push(self, audio: Tensor) -> None:
        """Take the next samples [A, S]. ``ended`` says afterwards whether silence has ended the clip."""
        if self.ended or not audio.shape[-1]:
            return
        self._heard += audio.shape[-1]
        # The mean over channels is of power, so a sound on one side counts.
        power = reduce(audio.float().square(), "a s -> s", "mean").cpu().numpy()
        power = np.concatenate([self._rest, power])
        whole = len(power) // self._piece * self._piece
        self._rest = power[whole:]
        self._judge(power[:whole].reshape(-1, self._piece).mean(axis=1))

    def finish(self) -> int:
        """Length of the clip in samples, where what was pushed is all there is."""
        if not self.ended and len(self._rest):
            self._judge(self._rest.mean(keepdims=True))
        return min(self.ready, self._heard)

    def _judge(self, power: np.ndarray) -> None:
        """Take the mean power [P] of further pieces."""
        levels = 10 * np.log10(power + 1e-12)
        loudest = np.maximum.accumulate(np.concatenate([[self._loudest], levels]))[1:]
        loud = (levels >= loudest - self._threshold_db) & (loudest > BEGIN_DB)
        index = self._judged // self._piece + 1 + np.arange(len(levels))
        last = np.maximum.accumulate(np.concatenate([[self._last_loud // self._piece], np.where(loud, index, 0)]))[1:]
        if self._limit is not None:
            over = np.flatnonzero((last > 0) & (index - last >= self._limit))
            if len(over):
                levels, loudest, last = (x[: over[0] + 1] for x in (levels, loudest, last))
                self.ended = True
        if len(levels):
            self._judged += len(levels) * self._piece
            self._loudest, self._last_loud = float(loudest[-1]), int(last[-1]) * self._piece

    def _kept(self, length: int) -> int:
        """Samples that stay of the first ``length``."""
        if self._margin is None or self._last_loud == 0:
            return length
        return min(length, max(self._last_loud + self._margin, length - self._held))
