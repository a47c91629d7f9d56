"""Scorers of finished audio: recogniser, speaker, fidelity, classifier, tempo, Frechet distance, drift, fixed lists.

They know nothing of training, and use scorers that were not trained here where such exist. Packages beyond the
plain installation come with ``pip install "audiocalm[eval]"``.
"""

from __future__ import annotations

from calm.evaluation.drift import Drift, measure_drift
from calm.evaluation.frechet import Gaussian, frechet_distance
from calm.evaluation.intervals import Figure
from calm.evaluation.lists import ClipItem, SpeechItem, load_clips, make_speech_list
from calm.evaluation.recogniser import DITHER_SEEDS, Recogniser, RecogniserConfig, Transcript
from calm.evaluation.reconstruction import Fidelity, MelDistance, compare, reconstruct
from calm.evaluation.speaker import SpeakerEncoder, nearest_to_own
from calm.evaluation.tempo import TempoError, estimate_tempo, tempo_error
from calm.evaluation.words import WordErrors, excess, word_error_rate, word_errors

__all__ = [
    "DITHER_SEEDS",
    "ClipItem",
    "Drift",
    "Fidelity",
    "Figure",
    "Gaussian",
    "MelDistance",
    "Recogniser",
    "RecogniserConfig",
    "SpeakerEncoder",
    "SpeechItem",
    "TempoError",
    "Transcript",
    "WordErrors",
    "compare",
    "estimate_tempo",
    "excess",
    "frechet_distance",
    "load_clips",
    "make_speech_list",
    "measure_drift",
    "nearest_to_own",
    "reconstruct",
    "tempo_error",
    "word_error_rate",
    "word_errors",
]
