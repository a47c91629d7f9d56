"""The detecting side of `spread`: a search over one period, with a threshold that no audio passes often by chance."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from calm.watermark.lattice import CELL_FRAMES, NUM_BANDS, PERIOD_CELLS, band_matrix
from calm.watermark.levels import decibels, hop_of, residual, rooted, spectra

__all__ = ["NUM_OFFSETS", "SAMPLE_RATE", "score", "threshold"]

SAMPLE_RATE = 16_000
#: beginnings of the lattice that are tried: every 8 ms of a period
NUM_OFFSETS = CELL_FRAMES * PERIOD_CELLS
#: the least and the largest size in dB beyond which a residual says no more than its sign
CALM_DB, LOUD_DB = 0.3, 3.0
#: a cell of this weight tells how large the residuals of its band are
COUNTED = 0.3
#: the share of cells that may be all noise; how far above its 5th percentile the 99th of white noise lies in a band of n
#: bins, offset + spread / sqrt(n + 1) in dB, where cells begin to count; and how steeply
NOISE_SHARE, NOISE_OFFSET_DB, NOISE_SPREAD_DB, SLOPE_DB = 0.05, 4.3, 7.1, 1.0
SILENCE_DB = -120.0
PIECE_FRAMES = 4096


def score(audio: Tensor, lattice: Tensor) -> float:
    """Largest correlation of ``audio`` [A, S] at 16 kHz with the lattice, over all beginnings of it.

    In a sum of fixed weights times random signs, divided by the root of the weights' squared sum: Hoeffding (1963) bounds
    the chance that one such sum exceeds x by exp(-x^2 / 2), whatever the audio. Silence and nothing have 0.
    """
    roots, powers = (_sliding(values) for values in _bands_of(audio))
    levels, strengths = decibels(roots), 10 * powers.clamp(min=1e-14).log10()
    heard = _weights(strengths)
    weights = [heard[phase::CELL_FRAMES] for phase in range(CELL_FRAMES)]
    rests = [residual(levels[phase::CELL_FRAMES]) for phase in range(CELL_FRAMES)]
    usual = _usual_size(torch.cat(rests), torch.cat(weights))
    evidence = [w * rest / (usual.square() + rest.square()).sqrt() for w, rest in zip(weights, rests, strict=True)]
    return max(_best_offset(one, lattice) for one in evidence)


def threshold(false_positives: float) -> float:
    """The score that audio passes with at most this probability, over the choice of the key and all beginnings tried."""
    return math.sqrt(2 * math.log(NUM_OFFSETS / false_positives))


def _bands_of(audio: Tensor) -> tuple[Tensor, Tensor]:
    """Mean root magnitudes and mean powers of the bands in all frames, each [frames, bands]; two cells at least."""
    hop = hop_of(SAMPLE_RATE)
    bands = band_matrix(SAMPLE_RATE, 4 * hop)
    num_frames = max(2 * CELL_FRAMES, -(-audio.shape[-1] // hop) + 3)
    audio = functional.pad(audio, (3 * hop, num_frames * hop - audio.shape[-1]))
    roots, powers = [], []
    for first in range(0, num_frames, PIECE_FRAMES):  # spectra of an hour would not fit into memory
        last = min(num_frames, first + PIECE_FRAMES)
        power = spectra(audio[:, first * hop : (last + 3) * hop], hop=hop).abs().square().mean(dim=0)  # [frames, bins]
        roots.append(rooted(power, bands))
        powers.append(power @ (bands / bands.sum(dim=0)))
    return torch.cat(roots), torch.cat(powers)


def _sliding(values: Tensor) -> Tensor:
    """Means over cells that begin with each frame: [frames, bands] -> [frames - 3, bands]."""
    return values.unfold(0, CELL_FRAMES, 1).mean(dim=-1)


def _weights(strengths: Tensor) -> Tensor:
    """How far each cell, in dB, is above what may be noise, 0..1; nothing where there is silence."""
    heard = strengths > SILENCE_DB
    if not bool(heard.any()):
        return torch.zeros_like(strengths)
    ranked = strengths[heard].sort().values
    noise = ranked[int(NOISE_SHARE * (len(ranked) - 1))]
    # The levels of noise vary most in the bands of few bins.
    bins = band_matrix(SAMPLE_RATE, 4 * hop_of(SAMPLE_RATE)).sum(dim=0)
    above = NOISE_OFFSET_DB + NOISE_SPREAD_DB / (bins + 1).sqrt()
    return torch.sigmoid((strengths - noise - above) / SLOPE_DB) * heard


def _usual_size(rests: Tensor, weights: Tensor) -> Tensor:
    """The median size in dB of each band's residuals: a steady tone tells more than noise of the same level [bands]."""
    counted = torch.where(weights > COUNTED, rests.abs(), torch.nan)
    return counted.nanmedian(dim=0).values.nan_to_num(LOUD_DB).clamp(CALM_DB, LOUD_DB)


def _best_offset(evidence: Tensor, lattice: Tensor) -> float:
    """Circular correlation of the evidence [T, bands], folded into one period, with the lattice."""
    folded = functional.pad(evidence, (0, 0, 0, -len(evidence) % PERIOD_CELLS))
    folded = folded.reshape(-1, PERIOD_CELLS, NUM_BANDS).sum(dim=0)
    size = float(folded.square().sum().sqrt())
    if size == 0:
        return 0.0
    both = torch.fft.rfft(folded, dim=0) * torch.fft.rfft(lattice, dim=0).conj()
    return float(torch.fft.irfft(both.sum(dim=1), n=PERIOD_CELLS).max()) / size
