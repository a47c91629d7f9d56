"""How fast a system was, from what it wrote down while it made a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from calm.metrics.base import ClipMetric, Column, Rows, Trial, Unscored
from calm.metrics.checks import log_number
from calm.metrics.intervals import Figure, mean, median, ratio_of_sums
from calm.registry import register

__all__ = ["Speed"]

#: stands in a row for what a system did not write down; no log holds a negative number
ABSENT = -1.0


@register("metric", "speed")
class Speed(ClipMetric):
    """Real-time factor, time to first audio and function evaluations, from the system's log.

    ``rtf`` is all seconds taken over all seconds of audio, ``first_audio`` the median in s, ``nfe`` the mean number of
    evaluations of the network for one block (a clip that is made at once is one block). A figure is missing where no clip's log has its number. Figures compare
    on the same hardware only.
    """

    needs = ("log",)

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["speed"] = "speed"

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(width=4)
        self.config = config or self.Config()

    @property
    def columns(self) -> tuple[Column, ...]:
        return (
            Column(key="rtf", label="RTF", better="lower"),
            Column(key="first_audio", label="First audio", better="lower", unit="s"),
            Column(key="nfe", label="NFE", better="lower", digits=1),
        )

    def measure(self, trial: Trial) -> np.ndarray:
        """Row: seconds taken, seconds of the clip, seconds to first audio, evaluations."""
        taken = log_number(trial, "seconds_taken")
        if taken is None:
            raise Unscored("The log has no 'seconds_taken' of at least 0", where=trial.item.id)
        if trial.clip.seconds <= 0:
            raise Unscored("The clip is empty", where=trial.item.id)
        first, nfe = (log_number(trial, key) for key in ("first_audio_seconds", "nfe"))
        return np.array([taken, trial.clip.seconds, *(ABSENT if x is None else x for x in (first, nfe))])

    def figures(self, rows: Rows) -> dict[str, Figure]:
        taken, seconds, first, nfe = rows.values.T
        found = {"rtf": ratio_of_sums(taken, seconds)}
        for key, values, statistic in (("first_audio", first, median), ("nfe", nfe, mean)):
            if len(known := values[values >= 0]):
                found[key] = statistic(known)
        return found

    def scores(self, rows: np.ndarray) -> dict[str, float]:
        taken, seconds, first, nfe = (float(x) for x in rows[0])
        found = {"rtf": taken / seconds, "first_audio": first, "nfe": nfe}
        return {key: value for key, value in found.items() if value >= 0}

    def describe(self) -> dict[str, Any]:
        return {"scorer": "the system's log", "rtf": "sum of seconds taken / sum of seconds of audio"}
