"""How far the length of a clip is from the length of the original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from calm.metrics.base import ClipMetric, Column, Rows, Trial, Unscored
from calm.metrics.checks import require
from calm.metrics.intervals import Figure, median
from calm.registry import register
from calm.types import Task

__all__ = ["LengthError"]


@register("metric", "length_error")
class LengthError(ClipMetric):
    """Median of |seconds of the clip / seconds of the original - 1| over clips."""

    tasks = (Task.SPEECH,)
    needs = ("target",)

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["length_error"] = "length_error"

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(width=1)
        self.config = config or self.Config()

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column(key="length_error", label="Length error", better="lower"),)

    def measure(self, trial: Trial) -> np.ndarray:
        target = require(trial, "target")
        if target.seconds <= 0:
            raise Unscored("The original is empty", where=trial.item.id)
        return np.array([abs(trial.clip.seconds / target.seconds - 1)])

    def figures(self, rows: Rows) -> dict[str, Figure]:
        return {"length_error": median(rows.values[:, 0])}

    def scores(self, rows: np.ndarray) -> dict[str, float]:
        return {"length_error": float(rows[0, 0])}

    def describe(self) -> dict[str, Any]:
        return {"scorer": "sample counts, silence included"}
