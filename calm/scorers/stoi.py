"""Short-time objective intelligibility by pystoi (Taal et al., 2011)."""

from __future__ import annotations

import warnings

import numpy as np

from calm.audio import resample, to_channels
from calm.scorers.optional import need
from calm.types import Waveform

__all__ = ["MIN_SECONDS", "SAMPLE_RATE", "stoi"]

SAMPLE_RATE = 10_000
#: 30 frames of 25.6 ms, one every 12.8 ms, and one more
MIN_SECONDS = 0.42


def stoi(clip: Waveform, original: Waveform) -> float | None:
    """STOI of a clip that runs in step with its original, at any rates and channels; the longer one is cut.

    None where fewer than 0.42 s are left when pystoi has dropped the original's silent frames. Raises ConfigError
    where pystoi is missing.
    """
    if min(clip.seconds, original.seconds) < MIN_SECONDS:
        return None
    clean, other = _samples(original), _samples(clip)
    count = min(len(clean), len(other))
    score = need("pystoi").stoi
    with warnings.catch_warnings():
        # Too few frames are a warning and 1e-5 there, which would look like a bad score.
        warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
        try:
            return float(score(clean[:count], other[:count], SAMPLE_RATE))
        except RuntimeWarning:
            return None


def _samples(clip: Waveform) -> np.ndarray:
    samples: np.ndarray = to_channels(resample(clip, SAMPLE_RATE), 1).audio[0].double().numpy()
    return samples
