"""WER by a recogniser whose weights come from the hub: what `wer_whisper` and `wer_hubert` share."""

from __future__ import annotations

import importlib.metadata
from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np

from calm.metrics.base import Trial, Unscored
from calm.metrics.checks import check_finite, is_silent
from calm.metrics.normalise import describe_normaliser, find_normaliser
from calm.metrics.wer import WordErrorRate
from calm.metrics.words import word_errors
from calm.scorers.transcribers import SAMPLE_RATE, Transcriber
from calm.scorers.weights import Weights

__all__ = ["TranscribedWER"]

#: HuBERT's convolutions see 25 ms; in a clip under 0.1 s nothing can be said
MIN_SECONDS = 0.1


class TranscribedWER(WordErrorRate):
    """Recognise, normalise both sides, count. Raises ConfigError where the weights are missing.

    A clip that is silent or shorter than 0.1 s has lost all its words: its WER is 1, whatever a recogniser would make up
    of it. Leaving it out would flatter a system that says nothing.
    """

    def __init__(self, *, weights: Weights, normaliser: str) -> None:
        super().__init__()
        self._weights = weights
        self._normaliser, self._normalise = normaliser, find_normaliser(normaliser)

    # A cached property is no submodule: neither .to() nor set_dtype of the metric reaches the network.
    @cached_property
    def _transcriber(self) -> Transcriber:
        return self._load(self._weights)

    @abstractmethod
    def _load(self, weights: Weights) -> Transcriber:
        """Build the recogniser."""

    def measure(self, trial: Trial) -> np.ndarray:
        """Row: errors and words of the reference."""
        if not self._normalise(trial.item.text):
            raise Unscored("The item has no words", where=trial.item.id)
        check_finite(trial.clip, where=trial.item.id)
        can_speak = trial.clip.seconds >= MIN_SECONDS and not is_silent(trial.clip)
        found = self._transcriber.transcribe(trial.clip) if can_speak else ""
        errors = word_errors(trial.item.text, [found], normalise=self._normalise)
        return np.array([errors.errors, errors.words])

    def describe(self) -> dict[str, Any]:
        return {
            "version": f"transformers {importlib.metadata.version('transformers')}",
            "weights": self._weights.record,
            "decoding": "greedy, float32",
            "normaliser": describe_normaliser(self._normaliser),
            "sample_rate": SAMPLE_RATE,
            "resampling": "soxr HQ",
        }
