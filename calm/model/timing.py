"""`Timing`: where in its clip a target row stands, and where in the beat, said to the row itself.

Rotary positions tell a row how far away others are. They do not tell it how much is still to come, so that a model ends a
piece when it likes, nor where the next beat falls, whose period is no whole number of frames. Both follow from three
numbers: the tempo that the description names, the length that is asked for, and the time that has passed (as the times of
Stable Audio, Evans et al., 2024, told by frame).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from calm.sequence import Rows
from calm.sequence.layout import TARGET

__all__ = ["PASSED", "SECONDS", "TEMPO", "Timing", "with_moments"]

#: columns of a timing [B, 3]: beats a minute, and seconds of the whole clip, 0 where they are not known; seconds of the
#: clip that lie before frame 0
TEMPO, SECONDS, PASSED = 0, 1, 2
#: beats in which a sinusoid turns once: a bar of four, down to a quarter of a beat
PERIODS = (4.0, 2.0, 1.0, 0.5, 0.25)
#: seconds in which nearness of the start and of the end falls to 1 / e
FROM_START, TO_END = (0.125, 0.25, 0.5, 1.0), (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
#: more seconds to come, or passed, are told as so many: no row of a long clip hears what no row of the training heard
FAR = 8.0
NUM_FEATURES = 2 * len(PERIODS) + 1 + len(FROM_START) + len(TO_END) + 1


class Timing(nn.Module):
    """Sinusoids of the beat, nearness of start and end, through one linear layer that begins at zero.

    Args:
        dim: D. frame_seconds: of one latent frame.
    """

    def __init__(self, dim: int, *, frame_seconds: float) -> None:
        super().__init__()
        self.frame_seconds = frame_seconds
        self.out = nn.Linear(NUM_FEATURES, dim, bias=False)
        for name, scales in (("periods", PERIODS), ("from_start", FROM_START), ("to_end", TO_END)):
            self.register_buffer(name, torch.tensor(scales), persistent=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, rows: Rows, timing: Tensor) -> Tensor:
        """What is added to rows [B, N] -> [B, N, D], nothing to those of the prefix. ``timing``: [B, 3]."""
        weight = self.out.weight
        told = self.out(self.features(rows.order, timing).to(weight.dtype))
        return told * (rows.kind == TARGET)[..., None]

    def features(self, frame: Tensor, timing: Tensor) -> Tensor:
        """Frames int64 [B, N] -> [B, N, 22], each in -1..1, zeros for what is not known."""
        tempo, seconds, passed = timing[:, None, :].unbind(dim=-1)
        now = frame * self.frame_seconds + passed
        turns = (now * tempo / 60)[..., None] / self.periods
        angle = 2 * math.pi * turns
        has_tempo, has_end = (tempo > 0)[..., None], (seconds > 0)[..., None]
        beat = torch.cat([angle.cos(), angle.sin(), torch.ones_like(now)[..., None]], dim=-1) * has_tempo
        end = torch.cat([_nearness(seconds - now, self.to_end), torch.ones_like(now)[..., None]], dim=-1) * has_end
        return torch.cat([beat, _nearness(now, self.from_start), end], dim=-1)


def _nearness(seconds: Tensor, scales: Tensor) -> Tensor:
    """exp(-s / scale) of seconds [B, N], within 0 to ``FAR`` -> [B, N, number of scales]."""
    return torch.exp(-seconds.clamp(0, FAR)[..., None] / scales)


def with_moments(x: Tensor, moments: Tensor | None) -> Tensor:
    """Rows [B, N, D] and what they are told of their moment."""
    return x if moments is None else x + moments
