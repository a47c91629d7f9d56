"""The embedding that needs no weights: mean and spread of every mel band over each second."""

from __future__ import annotations

from typing import Any

import numpy as np

from calm.audio import mel_spectrogram
from calm.scorers.embedder import Embedder, mono
from calm.types import Waveform

__all__ = ["FRAMES", "HOP", "NUM_MELS", "RATE", "MelStatistics", "energies_by_second"]

RATE, NUM_MELS, N_FFT, HOP = 16_000, 64, 1024, 320
#: what an embedding says of these windows and frames
FRAMES = {"window_seconds": 1.0, "hop_seconds": 1.0, "num_mels": NUM_MELS, "n_fft": N_FFT, "frame_hop": HOP}
#: Energy that is added before the logarithm, that of white noise of -44 dBFS: with less, hiss in the pauses of quiet
#: recordings counted more than what a clip is a recording of.
FLOOR = 1e-3


class MelStatistics(Embedder):
    """Mean and standard deviation over time of 64 log-mel bands, for each of the clip's seconds; D = 128.

    A clip of S seconds is cut into round(S) equal windows, at least one, so that nothing is padded and nothing left
    out. The values are 10 log10(energy + floor) / 10 of frames of 64 ms every 20 ms, 0 to 8 kHz.

    It hears level, timbre, noise, and how much each band moves. It is blind to the direction of time and the order of
    what happens within a window, to what is more than a second apart, to phase, to pitch within a band, to channels, to
    all above 8 kHz, to hiss below about -44 dBFS, and to meaning: it orders systems on one list, no more.
    """

    name = "mel"
    sample_rate = RATE
    width = 2 * NUM_MELS

    def embed(self, clip: Waveform) -> np.ndarray:
        windows = [np.log10(energy + FLOOR) for energy in energies_by_second(clip)]
        return np.stack([np.concatenate([window.mean(axis=0), window.std(axis=0)]) for window in windows])

    def settings(self) -> dict[str, Any]:
        return {**FRAMES, "floor": FLOOR}


def energies_by_second(clip: Waveform) -> list[np.ndarray]:
    """Mel energies of a clip of S seconds in round(S) equal windows, at least one, float64 [frames, 64] each."""
    audio = mono(clip, sample_rate=RATE).double()
    energy = mel_spectrogram(audio, sample_rate=RATE, n_fft=N_FFT, hop=HOP, num_mels=NUM_MELS, power=2.0)
    return np.array_split(energy.T.numpy(), max(1, round(len(audio) / RATE)))
