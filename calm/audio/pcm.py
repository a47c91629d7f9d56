"""Samples as 16-bit files hold them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from calm.types import Waveform

__all__ = ["to_pcm"]


def to_pcm(waveform: Waveform) -> NDArray[np.int16]:
    """Samples [A, S] in -1..1 as little-endian 16-bit integers [S, A]: what a file of them decodes to, exactly."""
    scaled = (waveform.audio.detach().cpu().to(torch.float64) * 32768.0).round().clamp(-32768, 32767)
    return np.ascontiguousarray(scaled.numpy().T.astype("<i2"))
