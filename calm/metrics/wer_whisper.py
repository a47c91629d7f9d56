"""WER by Whisper large-v3, the recogniser of Seed-TTS-eval for English."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from calm.metrics.normalise import Normaliser
from calm.metrics.transcribed import TranscribedWER
from calm.registry import register
from calm.scorers.transcribers import WHISPER_FILES, Whisper
from calm.scorers.weights import Weights

__all__ = ["WhisperWER"]


@register("metric", "wer_whisper")
class WhisperWER(TranscribedWER):
    """WER by Whisper with Seed-TTS-eval's normaliser: the figure that papers report.

    Clips of any length. The protocol cuts recordings at 30 s; here longer ones are heard to their end.
    """

    key, label = "wer_whisper", "WER, Whisper"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["wer_whisper"] = "wer_whisper"
        repo: str = "openai/whisper-large-v3"
        #: a local copy of the repository's files, instead of the hub
        folder: str | None = None
        revision: str | None = None
        language: str = "english"
        normaliser: Normaliser = "seed_tts"

    def __init__(self, config: Config | None = None, *, device: str = "cpu") -> None:
        config = config or self.Config()
        weights = Weights(config.repo, files=WHISPER_FILES, folder=config.folder, revision=config.revision)
        super().__init__(weights=weights, normaliser=config.normaliser)
        self.config, self._model_device = config, device

    def _load(self, weights: Weights) -> Whisper:
        return Whisper(weights, language=self.config.language, device=self._model_device)

    def describe(self) -> dict[str, Any]:
        return {"scorer": "Whisper", **super().describe(), "language": self.config.language}
