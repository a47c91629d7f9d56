"""The lattice of `spread`: which band of which moment is made louder or softer, as a key says.

Time is cut into cells of 32 ms and frequency into bands; every pair has a sign from the key, and the signs repeat after
80 cells (2.56 s), so that a detector that knows nothing of the beginning has one period to search.
"""

from __future__ import annotations

import hashlib
import itertools

import torch
from torch import Tensor

__all__ = ["CELL_FRAMES", "CELL_MS", "NUM_BANDS", "PERIOD_CELLS", "band_matrix", "signs"]

#: frames of 8 ms in a cell
CELL_MS, CELL_FRAMES, PERIOD_CELLS = 32, 4, 80
LOW_HZ, KNEE_HZ, HIGH_HZ = 80.0, 3700.0, 7200.0
#: below the knee, which telephone audio keeps, bands widen with frequency; above it they are equal in octaves
NUM_LOW, NUM_HIGH, WARP_HZ = 36, 14, 1500.0
NUM_BANDS = NUM_LOW + NUM_HIGH


def edges() -> list[float]:
    """Band limits in Hz, ascending, [NUM_BANDS + 1]."""
    ratio = (KNEE_HZ + WARP_HZ) / (LOW_HZ + WARP_HZ)
    low = [(LOW_HZ + WARP_HZ) * ratio ** (i / NUM_LOW) - WARP_HZ for i in range(NUM_LOW)]
    return low + [KNEE_HZ * (HIGH_HZ / KNEE_HZ) ** (i / NUM_HIGH) for i in range(NUM_HIGH + 1)]


def band_matrix(sample_rate: int, n_fft: int) -> Tensor:
    """Which bins of a spectrum belong to which band: ones and zeros [n_fft // 2 + 1, NUM_BANDS]."""
    hertz = torch.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    return torch.stack([(hertz >= low) & (hertz < high) for low, high in itertools.pairwise(edges())], dim=1).float()


def signs(key: str) -> Tensor:
    """The lattice of a key: +1 and -1, [PERIOD_CELLS, NUM_BANDS]; the same on every machine."""
    count = PERIOD_CELLS * NUM_BANDS
    stream = hashlib.shake_256(f"audiocalm spread 1 {key}".encode()).digest(-(-count // 8))
    bits = torch.tensor([byte >> bit & 1 for byte in stream for bit in range(8)][:count])
    return (2.0 * bits - 1.0).reshape(PERIOD_CELLS, NUM_BANDS)
