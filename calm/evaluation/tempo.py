"""Tempo of a piece by librosa's beat tracker (Ellis, 2007), with the octave errors shown apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calm.audio import resample, to_channels
from calm.scorers.optional import need
from calm.types import Waveform

__all__ = ["TempoError", "estimate_tempo", "tempo_error"]

SAMPLE_RATE, HOP = 16_000, 128
TOLERANCE = 0.08
#: the tracker often hears two beats as one, or one as two or three
OCTAVES = (0.5, 2.0, 1 / 3, 3.0, 2 / 3, 1.5)


@dataclass(frozen=True, kw_only=True)
class TempoError:
    """``relative``: |estimate / asked - 1|. ``right``: within 8 %. ``octave``: not right, but a simple multiple is."""

    estimate: float
    relative: float
    right: bool
    octave: bool


def estimate_tempo(clip: Waveform) -> float:
    """Beats per minute of a clip of any rate, or 0 where nothing beats.

    This is the first half of `librosa.beat.beat_track`; the second, which places the beats, would compile for half a
    minute in a fresh environment and for seconds in every process.
    """
    onset, rhythm = need("librosa.onset"), need("librosa.feature.rhythm")
    audio = to_channels(resample(clip, SAMPLE_RATE), 1).audio[0].numpy()
    strength = onset.onset_strength(y=audio, sr=SAMPLE_RATE, hop_length=HOP, aggregate=np.median)
    if not strength.any():
        return 0.0
    return float(rhythm.tempo(onset_envelope=strength, sr=SAMPLE_RATE, hop_length=HOP)[0])


def tempo_error(estimate: float, asked: float) -> TempoError:
    """Compare an estimated tempo with the one that was asked for, both in beats per minute."""
    relative = abs(estimate / asked - 1)
    octaves = (abs(estimate / (asked * factor) - 1) <= TOLERANCE for factor in OCTAVES)
    right = relative <= TOLERANCE
    return TempoError(estimate=estimate, relative=relative, right=right, octave=not right and any(octaves))
