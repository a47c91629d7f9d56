"""What the small CLAP hears in training: log-mel features of clips as they are, and of the same clips damaged.

Features are those of transformers' `ClapFeatureExtractor` (``rand_trunc``, ``repeatpad``), by one transform for a batch.
Damage is drawn anew for every batch: noise at 0 to 30 dB, white or darker, before a clip is repeated; what codecs and
telephones do (no band above a cutoff, no bin far below the loudest of its frame, levels that waver), or both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Damage", "Ears"]

#: chance of noise; a clip without it is always coded, one with it at times
NOISY, CODED_TOO = 0.65, 0.3
SNRS = (0.0, 30.0)
#: by how much a clip should be nearer to its text than it is at 0 dB, and than its coded version
NOISE_MARGIN, CODE_MARGIN = 0.3, 0.02
COLOURS = 32


@dataclass(frozen=True)
class Damage:
    """``features``: [clips, 1, frames, bands]; ``margins``: by how much each should be worse than what it was."""

    features: Tensor
    margins: Tensor


class Ears:
    """Hears clips (float arrays at the extractor's rate, no longer than its window) with or without damage."""

    def __init__(self, extractor: object) -> None:
        self._size, self._hop = extractor.fft_window_size, extractor.hop_length
        self._length, self._rate = int(extractor.nb_max_samples), extractor.sampling_rate
        self._filters = torch.from_numpy(np.asarray(extractor.mel_filters_slaney)).float()
        self._noises = coloured(self._length, count=COLOURS)

    def hear(self, clips: Sequence[np.ndarray]) -> Tensor:
        return self._mel(self._power(clips))

    def hear_damaged(self, clips: Sequence[np.ndarray], rng: np.random.Generator) -> Damage:
        snrs = [float(rng.uniform(*SNRS)) if rng.random() < NOISY else None for _ in clips]
        coded = torch.tensor([snr is None or rng.random() < CODED_TOO for snr in snrs])
        noisy = [clip if snr is None else self._noised(clip, snr, rng) for clip, snr in zip(clips, snrs, strict=True)]
        power = self._power(noisy)
        power[coded] = self._coded(power[coded], rng)
        margins = [CODE_MARGIN if snr is None else NOISE_MARGIN * (1 - snr / SNRS[1]) + CODE_MARGIN for snr in snrs]
        return Damage(features=self._mel(power), margins=torch.tensor(margins))

    def _noised(self, clip: np.ndarray, snr: float, rng: np.random.Generator) -> np.ndarray:
        start = int(rng.integers(self._length))
        noise = np.roll(self._noises[rng.integers(COLOURS)], start)[: len(clip)]
        return clip + noise * (np.sqrt(np.mean(np.square(clip))) * 10 ** (-snr / 20))

    def _coded(self, power: Tensor, rng: np.random.Generator) -> Tensor:
        """No bins above a cutoff of 3 to 8 kHz, none 25 to 60 dB below the loudest, levels that waver by 0 to 3 dB."""

        def drawn(low: float, high: float) -> Tensor:
            return torch.from_numpy(rng.uniform(low, high, (len(power), 1, 1))).float()

        bins = torch.arange(power.shape[1])[None, :, None] * (self._rate / self._size)
        loudest = power.amax(dim=1, keepdim=True)
        kept = (bins < drawn(3000, 8000)) & (power > loudest * 10 ** (-drawn(2.5, 6.0)))
        wavering = torch.from_numpy(rng.standard_normal(power.shape, dtype=np.float32)) * drawn(0, 0.3)
        return power * kept * 10**wavering

    def _power(self, clips: Sequence[np.ndarray]) -> Tensor:
        rows = torch.zeros(len(clips), self._length)
        for row, clip in zip(rows, clips, strict=True):
            repeated = np.tile(clip, self._length // len(clip))
            row[: len(repeated)] = torch.from_numpy(repeated)
        window = torch.hann_window(self._size)
        return torch.stft(rows, self._size, self._hop, window=window, return_complex=True).abs().square()

    def _mel(self, power: Tensor) -> Tensor:
        bands = power.transpose(1, 2) @ self._filters
        return 10 * bands.clamp(min=1e-10).log10()[:, None]


def coloured(length: int, *, count: int) -> np.ndarray:
    """Noises of level 1, float32 [count, length]: half of them white, the others fall by up to 6 dB an octave."""
    rng = np.random.default_rng(0)
    spectra = np.fft.rfft(rng.standard_normal((count, length)))
    slopes = np.where(np.arange(count) % 2, rng.uniform(0, 1, count), 0.0)[:, None]
    noises = np.fft.irfft(spectra * np.maximum(1, np.arange(spectra.shape[1])) ** -slopes, n=length)
    return (noises / np.sqrt(np.mean(noises**2, axis=1, keepdims=True))).astype(np.float32)
