"""What every metric of finished audio is: rows of numbers for each clip, and figures over the rows of all clips.

A metric works in two steps, so that an evaluation can stop and go on, and run on several processes:

    rows = metric.measure(trial)     # one clip, dear: a function of the clip and its item alone
    metric.update(index, rows)       # cheap
    figures = figures_of(metric.compute())  # over all clips of all ranks, in the order of their indices

Rows are float64 and sorted by index before figures are made, so that figures do not depend on how clips were dealt out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from calm.errors import DataError, InputError
from calm.metrics.intervals import Figure
from calm.types import TASKS, Task, Waveform

__all__ = ["ClipMetric", "Column", "Item", "Rows", "SetMetric", "Trial", "Unscored", "figures_of"]

#: what a trial may lack: the words or caption, the clip of the voice, the original, the speed record of the system
Need = Literal["text", "reference", "target", "log"]


class Unscored(DataError):
    """A clip that this metric can say nothing of; it is counted, and the others are scored."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """What a system is asked for. ``text`` is the transcript of speech, the raw caption of sound and music.

    ``prompt`` is a longer description where a benchmark has one, ``reference_text`` are the words of the reference
    clip, ``seconds`` is the duration asked for, ``labels`` name what should be heard (kinds, instruments, speaker).
    """

    id: str
    task: Task
    text: str
    prompt: str = ""
    reference_text: str = ""
    seconds: float | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One clip of a system beside what it was asked for.

    ``reference`` is the clip of the voice that was asked for, ``target`` the original recording. ``log`` is what the
    system wrote down while it made the clip: ``seconds_taken``, ``first_audio_seconds``, ``nfe``.
    """

    item: Item
    clip: Waveform
    reference: Waveform | None = None
    target: Waveform | None = None
    log: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Column:
    """How one figure of a metric is shown. ``key`` is its name in result files, for example ``wer_pooled``."""

    key: str
    label: str
    better: Literal["lower", "higher"]
    digits: int = 3
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of all clips: ``values`` float64 [R, W], ``indices`` int64 [R] of the items, not decreasing."""

    indices: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def by_clip(self) -> list[np.ndarray]:
        """The rows of each clip, float64 [n, W], in the order of their indices."""
        starts = np.flatnonzero(np.diff(self.indices)) + 1
        return np.split(self.values, starts) if len(self) else []


class ClipMetric(Metric, ABC):
    """A figure over clips. Subclasses say what they need, measure one clip, and make figures of all rows.

    Class attributes: ``tasks`` that it is for, ``needs`` of a trial, ``columns`` that it fills, ``width`` of a row.
    """

    full_state_update = False
    tasks: ClassVar[tuple[Task, ...]] = TASKS
    needs: ClassVar[tuple[Need, ...]] = ()

    def __init__(self, *, width: int = 1) -> None:
        super().__init__()
        self.width = width
        # Rows are kept flat, [index, values ...], float64: torchmetrics gathers the lists of ranks without a clip as
        # vectors of this type only.
        self.set_dtype(torch.float64)
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """The figures that ``compute`` returns, most important first."""

    @abstractmethod
    def measure(self, trial: Trial) -> np.ndarray:
        """Return the rows of one clip, [width] or [n, width], finite. Raises Unscored with the reason."""

    @abstractmethod
    def figures(self, rows: Rows) -> dict[str, Figure]:
        """Return a figure for each key of ``columns``. There is at least one row."""

    def scores(self, rows: np.ndarray) -> dict[str, float]:
        """The values of one clip (its rows [n, width]) by column key; empty where only a set has a figure."""
        return {}

    def describe(self) -> dict[str, Any]:
        """What a figure depends on, as JSON values: scorer, version, hash of its weights, rate, normaliser, settings."""
        return {}

    def update(self, index: int, rows: np.ndarray | Tensor) -> None:
        """Add the rows of item ``index``."""
        self.rows.append(self._flat(index, rows))

    def compute(self) -> dict[str, Tensor]:
        """Return float64 scalars of all clips, for logs: ``KEY``, ``KEY/low``, ``KEY/high``, ``KEY/count``.

        Nothing where there are no clips. `figures_of` makes records of them.
        """
        rows = self._sorted(self.rows)
        found = self.figures(rows) if len(rows) else {}
        return {
            key if part == "value" else f"{key}/{part}": torch.tensor(float(number), dtype=torch.float64)
            for key, figure in found.items()
            for part, number in vars(figure).items()
        }

    def _flat(self, index: int, rows: np.ndarray | Tensor) -> Tensor:
        new = torch.atleast_2d(torch.as_tensor(rows, dtype=torch.float64))
        if new.ndim != 2 or new.shape[1] != self.width or not bool(new.isfinite().all()):
            raise InputError(
                f"{type(self).__name__} was given rows of shape {tuple(new.shape)}",
                where=f"item {index}",
                allowed=f"[{self.width}] or [n, {self.width}], finite",
            )
        numbered = torch.cat([torch.full((len(new), 1), float(index), dtype=torch.float64), new], dim=1)
        return numbered.flatten().to(self.device)

    def _sorted(self, state: list[Tensor] | Tensor) -> Rows:
        # After a synchronisation the state is one tensor.
        flat = dim_zero_cat(state) if len(state) else torch.zeros(0, dtype=torch.float64)
        table = flat.reshape(-1, 1 + self.width).cpu().numpy()
        table = table[np.argsort(table[:, 0], kind="stable")]
        return Rows(indices=table[:, 0].astype(np.int64), values=table[:, 1:])


class SetMetric(ClipMetric):
    """A distance between the set of a system's clips and a reference set; rows are embeddings of excerpts."""

    def __init__(self, *, width: int) -> None:
        super().__init__(width=width)
        self.add_state("reference_rows", default=[], dist_reduce_fx="cat")

    @abstractmethod
    def distance(self, rows: Rows, reference: Rows) -> dict[str, Figure]:
        """Return a figure for each key of ``columns``; both sets have at least two rows."""

    def update_reference(self, index: int, rows: np.ndarray | Tensor) -> None:
        """Add the rows of one clip of the reference set, made by ``measure`` as well."""
        self.reference_rows.append(self._flat(index, rows))

    def figures(self, rows: Rows) -> dict[str, Figure]:
        reference = self._sorted(self.reference_rows)
        return self.distance(rows, reference) if min(len(rows), len(reference)) > 1 else {}


def figures_of(computed: Mapping[str, Tensor]) -> dict[str, Figure]:
    """The records of what ``ClipMetric.compute`` returned."""
    return {
        key: Figure(
            value=float(computed[key]),
            low=float(computed[f"{key}/low"]),
            high=float(computed[f"{key}/high"]),
            count=int(computed[f"{key}/count"]),
        )
        for key in computed
        if "/" not in key
    }
