"""SIM by WavLM large with ECAPA-TDNN's head, the verification network of Seed-TTS-eval and F5-TTS."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from torch import Tensor

from calm.metrics.similarity import MIN_SECONDS, SpeakerSimilarity
from calm.registry import register
from calm.scorers.wavlm import ECAPA_FILES, SAMPLE_RATE, WavLMSpeaker
from calm.scorers.weights import Weights
from calm.types import Waveform

__all__ = ["WavLMSimilarity"]


@register("metric", "sim_wavlm")
class WavLMSimilarity(SpeakerSimilarity):
    """SIM by WavLM large and ECAPA-TDNN (`wavlm_large_finetune.pth`): the figure that papers report.

    ``folder`` holds ``wavlm_large_finetune.pth`` itself, as the protocol's page offers it.
    """

    key, label = "sim_wavlm", "SIM, WavLM"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["sim_wavlm"] = "sim_wavlm"
        repo: str = "k2-fsa/TTS_eval_models"
        #: a folder with the checkpoint, instead of the hub
        folder: str | None = None
        revision: str | None = None

    def __init__(self, config: Config | None = None, *, device: str = "cpu") -> None:
        super().__init__()
        self.config = config = config or self.Config()
        self._weights = Weights(config.repo, files=ECAPA_FILES, folder=config.folder, revision=config.revision)
        self._model_device = device

    @cached_property
    def _encoder(self) -> WavLMSpeaker:
        return WavLMSpeaker(self._weights.path(ECAPA_FILES[0])).to(self._model_device)

    def embed(self, clip: Waveform) -> Tensor:
        return self._encoder.embed(clip)

    def describe(self) -> dict[str, Any]:
        return {
            "scorer": "WavLM large, ECAPA-TDNN",
            "version": f"transformers {importlib.metadata.version('transformers')}",
            "weights": self._weights.record,
            "sample_rate": SAMPLE_RATE,
            "resampling": "soxr HQ",
            "min_seconds": MIN_SECONDS,
        }
