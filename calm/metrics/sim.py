"""SIM by the speaker encoder that comes with a wheel: GE2E."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from torch import Tensor

from calm.metrics.similarity import MIN_SECONDS, SpeakerSimilarity
from calm.registry import register
from calm.scorers.hub import hash_of
from calm.scorers.optional import find_file
from calm.scorers.speaker import SAMPLE_RATE, SpeakerEncoder
from calm.types import Waveform

__all__ = ["GE2ESimilarity"]


@register("metric", "sim")
class GE2ESimilarity(SpeakerSimilarity):
    """SIM by GE2E, whose weights are in the wheel of resemblyzer: orders systems, not the papers' figure."""

    key, label = "sim", "SIM, GE2E"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["sim"] = "sim"

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = config or self.Config()

    @cached_property
    def _encoder(self) -> SpeakerEncoder:
        return SpeakerEncoder()

    @cached_property
    def _hash(self) -> str:
        return hash_of(find_file("resemblyzer", "pretrained.pt"))

    def embed(self, clip: Waveform) -> Tensor:
        return self._encoder.embed(clip)

    def describe(self) -> dict[str, Any]:
        return {
            "scorer": "GE2E",
            "version": f"resemblyzer {importlib.metadata.version('resemblyzer')}",
            "weights": {"sha256": {"pretrained.pt": self._hash}},
            "sample_rate": SAMPLE_RATE,
            "resampling": "soxr HQ",
            "min_seconds": MIN_SECONDS,
        }
