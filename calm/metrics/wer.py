"""WER by the recogniser that comes with a wheel: pocketsphinx, three dither seeds, mean of utterances and pooled."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from calm.metrics.base import ClipMetric, Column, Rows, Trial, Unscored
from calm.metrics.intervals import Figure, mean, ratio_of_sums
from calm.metrics.words import normalise_words, word_errors
from calm.registry import register
from calm.scorers.recogniser import DITHER_SEEDS, Language, Recogniser, RecogniserConfig
from calm.types import Task

__all__ = ["PocketsphinxWER", "WordErrorRate"]


class WordErrorRate(ClipMetric):
    """Errors and words of each utterance; a subclass recognises, and names its ``key`` and ``label``.

    ``KEY`` is the mean over utterances (the convention of Seed-TTS-eval), ``KEY_pooled`` all errors over all words.
    """

    tasks = (Task.SPEECH,)
    needs = ("text",)
    key: ClassVar[str] = "wer"
    label: ClassVar[str] = "WER"

    def __init__(self) -> None:
        super().__init__(width=2)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (
            Column(key=self.key, label=self.label, better="lower"),
            Column(key=f"{self.key}_pooled", label=f"{self.label}, pooled", better="lower"),
        )

    def figures(self, rows: Rows) -> dict[str, Figure]:
        errors, words = rows.values.T
        return {self.key: mean(errors / words), f"{self.key}_pooled": ratio_of_sums(errors, words)}

    def scores(self, rows: np.ndarray) -> dict[str, float]:
        return {self.key: float(rows[0, 0] / rows[0, 1])}


@register("metric", "wer")
class PocketsphinxWER(WordErrorRate):
    """WER by pocketsphinx, whose model is in its wheel: orders systems, compare with the originals'."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["wer"] = "wer"
        recogniser: RecogniserConfig = field(default_factory=RecogniserConfig)

    def __init__(self, config: Config | None = None, *, language: Language | None = None) -> None:
        """``language``: a language model for the list, the same for all systems; None for the wheel's general one."""
        super().__init__()
        self.config = config or self.Config()
        self._language = language
        self._recogniser: Recogniser | None = None

    def measure(self, trial: Trial) -> np.ndarray:
        if self._recogniser is None:
            self._recogniser = Recogniser(self.config.recogniser, language=self._language)
        if not normalise_words(trial.item.text):
            raise Unscored("The item has no words", where=trial.item.id)
        found = [self._recogniser.transcribe(trial.clip, dither_seed=seed).text for seed in DITHER_SEEDS]
        errors = word_errors(trial.item.text, found)
        return np.array([errors.errors, errors.words])

    def describe(self) -> dict[str, Any]:
        return {
            "scorer": "pocketsphinx",
            "version": importlib.metadata.version("pocketsphinx"),
            "language_model": "general" if self._language is None else f"of the list, sha256 {self._language.sha256}",
            "settings": dataclasses.asdict(self.config.recogniser),
            "dither_seeds": list(DITHER_SEEDS),
            "normaliser": "calm.metrics.words",
            "sample_rate": 16_000,
        }
