"""The embedding that needs no weights: mean and spread of the spectral envelope of loudness over each second."""

from __future__ import annotations

from typing import Any

import numpy as np

from calm.audio import mel_spectrogram
from calm.scorers.embedder import Embedder, mono
from calm.types import Waveform

__all__ = ["MelStatistics"]

NUM_MELS, N_FFT, HOP = 64, 1024, 320
#: of each frame: the envelope of its spectrum, without the partials that differ between any two clips
NUM_COEFFICIENTS = 20
#: Loudness doubles when the intensity grows tenfold (S. S. Stevens, "The measurement of loudness", JASA 27, 1955).
#: A logarithm magnifies what is hardly heard: noise in the quiet bands of a clip counted more than its kind.
EXPONENT = 0.3
#: of this embedding: figures of different versions are not comparable
VERSION = 2


class MelStatistics(Embedder):
    """Mean and standard deviation over time of 20 cepstral coefficients of loudness, for each of the clip's seconds; D = 40.

    A clip of S seconds is cut into round(S) equal windows, at least one, so that nothing is padded and nothing left
    out. Coefficients are those of an orthonormal cosine transform of energy^0.3 in 64 mel bands, 0 to 8 kHz, of frames
    of 64 ms every 20 ms; the first carries the level.

    It hears level, timbre, noise, and how much they move. It is blind to the direction of time and the order of
    what happens within a window, to what is more than a second apart, to phase, to pitch, to channels, to masking, to
    all above 8 kHz, and to meaning: it orders systems on one list, no more.
    """

    name = "mel"
    sample_rate = 16_000
    width = 2 * NUM_COEFFICIENTS

    def embed(self, clip: Waveform) -> np.ndarray:
        audio = mono(clip, sample_rate=self.sample_rate).double()
        mel = mel_spectrogram(
            audio, sample_rate=self.sample_rate, n_fft=N_FFT, hop=HOP, num_mels=NUM_MELS, power=2.0
        )  # [64, frames]
        frames = mel.T.numpy() ** EXPONENT @ _cosines().T  # [frames, 20]
        windows = np.array_split(frames, max(1, round(len(audio) / self.sample_rate)))
        return np.stack([np.concatenate([window.mean(axis=0), window.std(axis=0)]) for window in windows])

    def settings(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "window_seconds": 1.0,
            "hop_seconds": 1.0,
            "num_mels": NUM_MELS,
            "n_fft": N_FFT,
            "frame_hop": HOP,
            "compression": f"energy^{EXPONENT}",
            "coefficients": NUM_COEFFICIENTS,
        }


def _cosines() -> np.ndarray:
    """The first rows of the orthonormal discrete cosine transform (type II), [20, 64]."""
    rows = np.arange(NUM_COEFFICIENTS)[:, None] * (np.arange(NUM_MELS) + 0.5) * np.pi / NUM_MELS
    scale = np.where(np.arange(NUM_COEFFICIENTS) == 0, 1.0, 2.0) / NUM_MELS
    return np.sqrt(scale)[:, None] * np.cos(rows)
