"""SIM by WavLM base plus with x-vectors, the speaker verification model of the hub."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from torch import Tensor

from calm.metrics.similarity import MIN_SECONDS, SpeakerSimilarity
from calm.registry import register
from calm.scorers.wavlm import SAMPLE_RATE, XVECTOR_FILES, WavLMXVector
from calm.scorers.weights import Weights
from calm.types import Waveform

__all__ = ["XVectorSimilarity"]


@register("metric", "sim_wavlm_xvector")
class XVectorSimilarity(SpeakerSimilarity):
    """SIM by WavLM base plus with x-vectors: a small download, on another scale than `sim_wavlm`."""

    key, label = "sim_wavlm_xvector", "SIM, x-vector"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["sim_wavlm_xvector"] = "sim_wavlm_xvector"
        repo: str = "microsoft/wavlm-base-plus-sv"
        #: a local copy of the repository's files, instead of the hub
        folder: str | None = None
        revision: str | None = None

    def __init__(self, config: Config | None = None, *, device: str = "cpu") -> None:
        super().__init__()
        self.config = config = config or self.Config()
        self._weights = Weights(config.repo, files=XVECTOR_FILES, folder=config.folder, revision=config.revision)
        self._model_device = device

    @cached_property
    def _encoder(self) -> WavLMXVector:
        return WavLMXVector(self._weights, device=self._model_device)

    def embed(self, clip: Waveform) -> Tensor:
        return self._encoder.embed(clip)

    def describe(self) -> dict[str, Any]:
        return {
            "scorer": "WavLM, x-vectors",
            "version": f"transformers {importlib.metadata.version('transformers')}",
            "weights": self._weights.record,
            "sample_rate": SAMPLE_RATE,
            "resampling": "soxr HQ",
            "min_seconds": MIN_SECONDS,
        }
