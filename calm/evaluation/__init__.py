"""Judging finished audio: manifests, fixed lists, the runner of `calm evaluate`, and what only the corpus allows.

Figures come from `calm.metrics`, what listens from `calm.scorers`. Packages beyond the plain installation come with
``pip install "audiocalm[eval]"``.
"""

from __future__ import annotations

from calm.evaluation.drift import Drift, measure_drift
from calm.evaluation.lists import ClipItem, SpeechItem, load_clips, make_speech_list
from calm.evaluation.reconstruction import Fidelity, MelDistance, compare, reconstruct
from calm.evaluation.tempo import TempoError, estimate_tempo, tempo_error

__all__ = [
    "ClipItem",
    "Drift",
    "Fidelity",
    "MelDistance",
    "SpeechItem",
    "TempoError",
    "compare",
    "estimate_tempo",
    "load_clips",
    "make_speech_list",
    "measure_drift",
    "reconstruct",
    "tempo_error",
]
