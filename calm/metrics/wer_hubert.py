"""WER by HuBERT large, fine-tuned on LibriSpeech: the recogniser of zero-shot TTS papers from VALL-E on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from calm.metrics.normalise import Normaliser
from calm.metrics.transcribed import TranscribedWER
from calm.registry import register
from calm.scorers.transcribers import HUBERT_FILES, HubertCTC
from calm.scorers.weights import Weights

__all__ = ["HubertWER"]


@register("metric", "wer_hubert")
class HubertWER(TranscribedWER):
    """WER by HuBERT large with CTC, greedy: English only, and no language model repairs words.

    HuBERT spells numbers out. Texts with digits need the normaliser ``ours``.
    """

    key, label = "wer_hubert", "WER, HuBERT"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["wer_hubert"] = "wer_hubert"
        repo: str = "facebook/hubert-large-ls960-ft"
        #: a local copy of the repository's files, instead of the hub
        folder: str | None = None
        revision: str | None = None
        normaliser: Normaliser = "seed_tts"

    def __init__(self, config: Config | None = None, *, device: str = "cpu") -> None:
        config = config or self.Config()
        weights = Weights(config.repo, files=HUBERT_FILES, folder=config.folder, revision=config.revision)
        super().__init__(weights=weights, normaliser=config.normaliser)
        self.config, self._model_device = config, device

    def _load(self, weights: Weights) -> HubertCTC:
        return HubertCTC(weights, device=self._model_device)

    def describe(self) -> dict[str, Any]:
        return {"scorer": "HuBERT with CTC", **super().describe()}
