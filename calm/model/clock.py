"""`Clock`: how long a target has lasted, told to its rows, so that a tempo can be kept that a text names.

Rotary positions tell a row how far away others are. A beat is a matter of the time since the start, and its period is no
whole number of frames: from sinusoids of that time a layer can take the one whose rate the text asks for.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from calm.model.flow import home_of
from calm.sequence import Rows
from calm.sequence.layout import TARGET

__all__ = ["Clock"]

#: share of the training's samples that begin at a random moment, and the longest time that has passed by then, in seconds
SHIFTED, LATEST = 0.25, 600.0
#: slowest rate in Hz, that of a bar; the fastest is half of the frame rate
SLOWEST = 0.4
NUM_RATES = 128


class Clock(nn.Module):
    """Sinusoids of the seconds since the start of the target, through one linear layer that begins at zero.

    Rates are spaced evenly in their logarithm from 0.4 Hz to half of ``frame_rate`` (frames a second), 2 % apart at
    12.5 frames a second.
    """

    def __init__(self, dim: int, *, frame_rate: float) -> None:
        super().__init__()
        fastest = math.log(max(frame_rate / 2, 2 * SLOWEST))
        rates = torch.linspace(math.log(SLOWEST), fastest, NUM_RATES, dtype=torch.float64).exp()
        #: radians a frame; no part of the weights
        self.register_buffer("turn", (2 * math.pi * rates / frame_rate).float(), persistent=False)
        self.out = nn.Linear(2 * NUM_RATES, dim, bias=False)
        self.latest = LATEST * frame_rate
        nn.init.zeros_(self.out.weight)

    def draw_origins(self, count: int, generator: torch.Generator | None) -> Tensor:
        """Frames [B] that have passed before each sample of a training batch: 0 for most, anything for a quarter.

        An excerpt may begin in the middle of a beat, and a generated clip goes on for longer than any of the training.
        """
        device = home_of(generator, self.turn)
        draws = torch.rand(count, 2, generator=generator, device=device).to(self.turn)
        return torch.where(draws[:, 0] < SHIFTED, draws[:, 1] * self.latest, 0.0).floor()

    def forward(self, rows: Rows, *, origin: Tensor | None = None) -> Tensor:
        """What is added to rows [B, N] -> [B, N, D]; nothing to those of the prefix.

        ``origin``: frames [B] that passed before frame 0.
        """
        weight, frame = self.out.weight, rows.order
        if origin is not None:
            frame = frame + origin[:, None]
        angle = frame[..., None] * self.turn.to(torch.promote_types(weight.dtype, torch.float32))
        told = self.out(torch.cat([angle.cos(), angle.sin()], dim=-1).to(weight.dtype))
        return told * (rows.kind == TARGET)[..., None]
