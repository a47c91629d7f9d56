"""Levels of cells, and what their neighbours do not tell of them: what embedder and detector both look at."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["FRAME_MS", "decibels", "hop_of", "residual", "rooted", "spectra"]

FRAME_MS = 8
#: shares of the two neighbours in time and of the two in frequency that are taken off
TIME_SHARE, BAND_SHARE = 0.5, 0.35
#: levels are means of magnitudes to this power, so that the weak bins of a band count too
POWER, FLOOR_DB = 0.5, -130.0


def hop_of(sample_rate: int) -> int:
    """Samples between frames of 8 ms; a frame is four times as long."""
    return max(1, round(sample_rate * FRAME_MS / 1000))


def spectra(audio: Tensor, *, hop: int) -> Tensor:
    """Hann-windowed frames [A, S] -> [A, frames, 2 * hop + 1]; a sine of amplitude 1 has a peak of 1/2."""
    window = torch.hann_window(4 * hop)
    return torch.fft.rfft(audio.unfold(-1, 4 * hop, hop) * window) / window.sum()


def rooted(power: Tensor, bands: Tensor) -> Tensor:
    """Mean root magnitude of every band: powers [frames, bins] -> [frames, bands]."""
    return power.pow(POWER / 2) @ (bands / bands.sum(dim=0).clamp(min=1))


def decibels(mean: Tensor) -> Tensor:
    """Levels of means of root magnitudes, at least -130 dB."""
    return (20 / POWER * mean.clamp(min=1e-12).log10()).clamp(min=FLOOR_DB)


def residual(levels: Tensor) -> Tensor:
    """Levels [T, bands] in dB, or slopes, less what the neighbours in time, then in frequency, let expect.

    Where there is a neighbour on one side only, it counts twice. But for such edges the operator is its own transpose.
    """
    for dim, share in ((0, TIME_SHARE), (1, BAND_SHARE)):
        levels = levels - share * (_neighbour(levels, dim, 1) + _neighbour(levels, dim, -1))
    return levels


def _neighbour(levels: Tensor, dim: int, step: int) -> Tensor:
    size = levels.shape[dim]
    index = torch.arange(size) + step
    return levels.index_select(dim, torch.where(index >= size, size - 2, index.abs()).clamp(0, size - 1))
