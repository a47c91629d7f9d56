"""Intelligibility of a reconstruction against its original: STOI."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from calm.metrics.base import ClipMetric, Column, Rows, Trial, Unscored
from calm.metrics.checks import check_clip, require
from calm.metrics.intervals import Figure, mean
from calm.registry import register
from calm.scorers.stoi import MIN_SECONDS, SAMPLE_RATE, stoi
from calm.types import Task

__all__ = ["STOI"]


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
        found = stoi(trial.clip, target)
        if found is None:
            raise Unscored(f"Fewer than {MIN_SECONDS} s are left without silent frames", where=name)
        return np.array([found])

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
