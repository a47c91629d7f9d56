"""DNSMOS by the networks that come with a wheel: opinions of a recording's quality, without a reference."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from calm.metrics.base import ClipMetric, Column, Rows, Trial
from calm.metrics.checks import check_clip
from calm.metrics.intervals import Figure, mean
from calm.registry import register
from calm.scorers.dnsmos import DNSMOS, SAMPLE_RATE, model_paths
from calm.scorers.hub import hash_of
from calm.types import Task

__all__ = ["DNSMOSMetric"]

#: shorter clips would be repeated more than 30 times
MIN_SECONDS = 0.3
KEYS = ("dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808")


@register("metric", "dnsmos")
class DNSMOSMetric(ClipMetric):
    """DNSMOS P.835 and P.808, 1 to 5, by the networks in the wheel of speechmos; clips of at least 0.3 s.

    They were trained on noisy and denoised speech: they hear noise and distortion, not whether words are right or a
    voice is lively.
    """

    tasks = (Task.SPEECH,)

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["dnsmos"] = "dnsmos"

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(width=len(KEYS))
        self.config = config or self.Config()

    @property
    def columns(self) -> tuple[Column, ...]:
        labels = ("DNSMOS", "DNSMOS, speech", "DNSMOS, background", "DNSMOS, P.808")
        return tuple(Column(key=k, label=label, better="higher", digits=2) for k, label in zip(KEYS, labels, strict=True))

    @cached_property
    def _scorer(self) -> DNSMOS:
        return DNSMOS()

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return {path.name: hash_of(path) for path in model_paths()}

    def measure(self, trial: Trial) -> np.ndarray:
        """Row: overall, speech, background, P.808."""
        check_clip(trial.clip, where=trial.item.id, min_seconds=MIN_SECONDS)
        found = self._scorer.score(trial.clip)
        return np.array([found.ovrl, found.sig, found.bak, found.p808])

    def figures(self, rows: Rows) -> dict[str, Figure]:
        return {key: mean(values) for key, values in zip(KEYS, rows.values.T, strict=True)}

    def scores(self, rows: np.ndarray) -> dict[str, float]:
        return {key: float(value) for key, value in zip(KEYS, rows[0], strict=True)}

    def describe(self) -> dict[str, Any]:
        versions = {name: importlib.metadata.version(name) for name in ("speechmos", "onnxruntime")}
        return {
            "scorer": "DNSMOS P.835 and P.808, not personalised",
            "version": ", ".join(f"{name} {version}" for name, version in versions.items()),
            "weights": {"sha256": self._hashes},
            "sample_rate": SAMPLE_RATE,
            "resampling": "soxr HQ",
            "windows": "9.01 s, one each second, shorter clips repeated",
            "min_seconds": MIN_SECONDS,
        }
