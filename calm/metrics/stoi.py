"""Intelligibility of a reconstruction against its original: STOI."""

from __future__ import annotations

import importlib.metadata
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from calm.audio import resample, to_channels
from calm.metrics.base import ClipMetric, Column, Rows, Trial, Unscored
from calm.metrics.checks import check_clip, require
from calm.metrics.intervals import Figure, mean
from calm.registry import register
from calm.scorers.optional import need
from calm.types import Task, Waveform

__all__ = ["STOI"]

SAMPLE_RATE = 10_000
#: 30 frames of 25.6 ms, one every 12.8 ms, and one more
MIN_SECONDS = 0.42


@register("metric", "stoi")
class STOI(ClipMetric):
    """STOI by pystoi, for reconstructions that run in step with their originals.

    Taal et al., 2011. Clips whose length differs by more than 2 % are not scored; the longer one is cut. At least
    0.42 s must be left when pystoi has dropped the original's silent frames. The extended STOI is not offered: pystoi
    adds random numbers to it.
    """

    tasks = (Task.SPEECH,)
    needs = ("target",)

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["stoi"] = "stoi"
        #: largest difference of the two lengths, as a share of the original's
        max_length_error: float = 0.02

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(width=1)
        self.config = config or self.Config()

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column(key="stoi", label="STOI", better="higher"),)

    def measure(self, trial: Trial) -> np.ndarray:
        target, name = require(trial, "target"), trial.item.id
        check_clip(target, where=name, min_seconds=MIN_SECONDS, what="original")
        check_clip(trial.clip, where=name, min_seconds=MIN_SECONDS)
        error = abs(trial.clip.seconds / target.seconds - 1)
        if error > self.config.max_length_error:
            raise Unscored(
                f"The clip's length is {100 * error:.1f} % off its original's: STOI compares them frame by frame",
                where=name,
                allowed=f"at most {100 * self.config.max_length_error:g} %",
            )
        clean, other = _samples(target), _samples(trial.clip)
        count = min(len(clean), len(other))
        stoi = need("pystoi").stoi
        with warnings.catch_warnings():
            # Too few frames are a warning and 1e-5 there, which would look like a bad score.
            warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
            try:
                return np.array([float(stoi(clean[:count], other[:count], SAMPLE_RATE))])
            except RuntimeWarning:
                raise Unscored(f"Fewer than {MIN_SECONDS} s are left without silent frames", where=name) from None

    def figures(self, rows: Rows) -> dict[str, Figure]:
        return {"stoi": mean(rows.values[:, 0])}

    def scores(self, rows: np.ndarray) -> dict[str, float]:
        return {"stoi": float(rows[0, 0])}

    def describe(self) -> dict[str, Any]:
        return {
            "scorer": "pystoi",
            "version": importlib.metadata.version("pystoi"),
            "sample_rate": SAMPLE_RATE,
            "resampling": "soxr HQ",
            "max_length_error": self.config.max_length_error,
        }


def _samples(clip: Waveform) -> np.ndarray:
    samples: np.ndarray = to_channels(resample(clip, SAMPLE_RATE), 1).audio[0].double().numpy()
    return samples
