"""The embedding side of `spread`: what is added to a clip so that the detector's score rises most for its energy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from calm.watermark.lattice import CELL_MS, PERIOD_CELLS, band_matrix
from calm.watermark.levels import decibels, hop_of, residual, rooted, spectra

__all__ = ["CONTEXT_FRAMES", "Strength", "addition"]

#: how much less louder bands get, beside the mean of their moment
LOUDNESS_POWER, QUIET = 0.75, 0.02
#: powers of ten between which the step up the slope is sought, and how often the interval is halved
STEPS, HALVINGS = (-3.0, 3.5), 14
#: residuals in dB over which a cell's sign is settled, so that pushing it pays no more
SETTLED_DB = 6.0
#: power of a bin under which a band is left as it is: -120 dB of full scale
SILENCE = 1e-12
#: overlapping frames undo a part of each other's gains: the mark is by so much softer than the gains say
OVERLAP_DB = 3.0
#: frames on either side of a sample that what is added to it depends on: its frames' cells, two cells further, their frames
CONTEXT_FRAMES = 22


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How far the mark stays under the signal, in every moment, in dB; and the largest gain of a band, in dB."""

    level_db: float
    max_gain_db: float


def addition(audio: Tensor, *, sample_rate: int, lattice: Tensor, strength: Strength, first_frame: int = 0) -> Tensor:
    """What to add to ``audio`` float32 [A, S] so that it is marked; zeros where it is silent.

    All channels get the same gains. ``first_frame``: hops of 8 ms that came before the first sample.
    """
    hop, samples = hop_of(sample_rate), audio.shape[-1]
    num_frames = -(-samples // hop) + 3
    # The first frame ends one hop after the first sample, so that all samples lie in four frames.
    padded = functional.pad(audio, (3 * hop, num_frames * hop - samples))
    frames, bands = spectra(padded, hop=hop), band_matrix(sample_rate, 4 * hop)
    cells = _cells(first_frame, num_frames, hop=hop, sample_rate=sample_rate)
    gains = _gains(frames.abs().square().mean(dim=0), bands, cells=cells, lattice=lattice, strength=strength)
    change = (10 ** (gains / 20) - 1)[cells - cells[0]] @ bands.T
    window = torch.hann_window(4 * hop)
    pieces = torch.fft.irfft(frames * change, n=4 * hop) * window * (window.sum() / 1.5)
    whole = functional.fold(
        pieces.transpose(1, 2), output_size=(1, padded.shape[-1]), kernel_size=(1, 4 * hop), stride=(1, hop)
    )
    return whole[:, 0, 0, 3 * hop : 3 * hop + samples]


def _cells(first_frame: int, num_frames: int, *, hop: int, sample_rate: int) -> Tensor:
    """The cell in which the middle of each frame lies, counted from the beginning of the audio [frames]."""
    middles = (torch.arange(first_frame, first_frame + num_frames) - 1).clamp(min=0) * hop
    return middles * 1000 // (sample_rate * CELL_MS)


def _gains(power: Tensor, bands: Tensor, *, cells: Tensor, lattice: Tensor, strength: Strength) -> Tensor:
    """Gains in dB [T, bands] from powers [frames, bins]: in each moment, as far up the slope of the score as the budget lets."""
    width = bands.sum(dim=0)
    total = _mean_of_cells(power.sum(dim=1, keepdim=True), cells)  # [T, 1]
    energy = _mean_of_cells(power @ bands, cells)
    levels = decibels(_mean_of_cells(rooted(power, bands), cells))
    wanted = lattice[torch.arange(int(cells[0]), int(cells[-1]) + 1) % PERIOD_CELLS]
    slope = residual(wanted * (1 + (residual(levels) / SETTLED_DB).square()).pow(-1.5))
    loudness = energy / width.clamp(min=1) / (total / width.sum().clamp(min=1)).clamp(min=SILENCE)
    direction = slope / (QUIET + loudness).pow(LOUDNESS_POWER) * (energy > SILENCE * width)
    budget = total * 10 ** ((OVERLAP_DB - strength.level_db) / 10)
    return _within(budget, direction, energy, max_gain_db=strength.max_gain_db)


def _within(budget: Tensor, direction: Tensor, energy: Tensor, *, max_gain_db: float) -> Tensor:
    """The longest step in the direction [T, bands] that adds no more than the budget [T, 1], no gain above the largest."""
    low, high = (torch.full_like(budget, step) for step in STEPS)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        gains = (direction * 10**middle).clamp(-max_gain_db, max_gain_db)
        added = (energy * (10 ** (gains / 20) - 1).square()).sum(dim=1, keepdim=True)
        low, high = torch.where(added > budget, low, middle), torch.where(added > budget, middle, high)
    return (direction * 10**low).clamp(-max_gain_db, max_gain_db)


def _mean_of_cells(values: Tensor, cells: Tensor) -> Tensor:
    """[frames, X] -> [T, X]"""
    index, count = cells - cells[0], int(cells[-1] - cells[0]) + 1
    sums = torch.zeros(count, values.shape[1]).index_add(0, index, values)
    return sums / torch.bincount(index, minlength=count)[:, None]
