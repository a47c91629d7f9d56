"""From the runs' held-out errors to answers: paired differences with intervals over clips, and their spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calm.ablation.plan import SINGLE
from calm.ablation.results import RunResult
from calm.errors import DataError
from calm.metrics.intervals import Figure, ratio_of_sums
from calm.text.description import STYLES
from calm.types import TASKS, Task

__all__ = ["QUESTIONS", "Arm", "Cell", "Difference", "Errors", "Question"]

#: (variant, style); the variant `single` stands for each task's own single-task run
Arm = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Question:
    """A claim, as the difference ``first - second`` of two variants (or styles); below 0, the first is better."""

    name: str
    text: str
    first: str
    second: str


QUESTIONS: tuple[Question, ...] = (
    Question(name="mixing", text="Does mixing hurt? Mixed without expert - task alone", first="mixed", second=SINGLE),
    Question(name="amome", text="Does A-MoME repair it? A-MoME - mixed without expert", first="amome", second="mixed"),
    Question(name="remains", text="What is left? A-MoME - task alone", first="amome", second=SINGLE),
    Question(name="symmetric", text="Symmetric experts - mixed without expert", first="symmetric", second="mixed"),
    Question(name="asymmetry", text="Is asymmetry enough? A-MoME - symmetric experts", first="amome", second="symmetric"),
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Error of one variant on one task: mean over seeds and clips, and by seed and noise level."""

    figure: Figure
    by_seed: tuple[float, ...]
    by_noise: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Paired difference on one task: ``figure`` with its interval over clips, ``relative`` to the second's error."""

    question: str
    style: str
    task: str
    figure: Figure
    relative: float
    by_seed: tuple[float, ...]
    by_noise: tuple[float | None, ...]

    @property
    def verdict(self) -> str:
        """``lower`` or ``higher`` where the interval over clips excludes 0 and every seed agrees, else ``open``."""
        sign = np.sign(self.figure.value)
        sure = self.figure.low * self.figure.high > 0 and all(np.sign(value) == sign for value in self.by_seed)
        return ("lower" if sign < 0 else "higher") if sure and sign else "open"


class Errors:
    """Held-out errors of all finished runs, arranged by variant, style, task and seed.

    Args:
        results: (variant, style, seed) -> result.
    Raises DataError where two runs were judged on different clips or noise.
    """

    def __init__(self, results: Mapping[tuple[str, str, int], RunResult]) -> None:
        self._sums: dict[tuple[str, str, str, int], np.ndarray] = {}
        fixed: dict[str, tuple[list[str], np.ndarray]] = {}
        for (variant, style, seed), result in results.items():
            column = SINGLE if variant in set(map(str, TASKS)) else variant
            for task, found in result.errors.items():
                frames = np.asarray(found.frames)
                keys, expected = fixed.setdefault(task, (found.keys, frames))
                if found.keys != keys or not np.array_equal(frames, expected):
                    raise DataError(
                        f"The runs were judged on different clips or noise of {task}",
                        where=f"{style}-{variant}-seed{seed}",
                        hint="delete held_out.json of the runs: they are judged again",
                    )
                self._sums[column, style, task, seed] = np.asarray(found.error)
        self.frames = {task: frames for task, (_, frames) in fixed.items()}
        self.seeds = sorted({seed for *_, seed in self._sums})

    def cell(self, arm: Arm, task: Task) -> Cell:
        """The error of one variant in one style."""
        error, frames = self._stack(arm, task), self.frames[task]
        return Cell(figure=_figure(error, frames), **_parts(error, frames))

    def difference(self, question: Question, *, style: str, task: Task) -> Difference:
        """The paired difference that answers a question."""
        return self._difference(question.name, (question.first, style), (question.second, style), style=style, task=task)

    def style_difference(self, variant: str, *, task: Task) -> Difference:
        """Description-style text - raw text, for one variant."""
        return self._difference("description", (variant, STYLES[0]), (variant, STYLES[1]), style=variant, task=task)

    def _difference(self, name: str, first: Arm, second: Arm, *, style: str, task: Task) -> Difference:
        frames, reference = self.frames[task], self._stack(second, task)
        difference = self._stack(first, task) - reference
        figure = _figure(difference, frames)
        relative = figure.value / _figure(reference, frames).value
        return Difference(
            question=name, style=style, task=str(task), figure=figure, relative=relative, **_parts(difference, frames)
        )

    def _stack(self, arm: Arm, task: Task) -> np.ndarray:
        """Errors of all seeds, [seeds, clips, bins]."""
        return np.stack([self._sums[(*arm, str(task), seed)] for seed in self.seeds])


def _figure(error: np.ndarray, frames: np.ndarray) -> Figure:
    """Error per frame, averaged over seeds; the interval is over clips."""
    return ratio_of_sums(error.mean(axis=0).sum(axis=-1), frames.sum(axis=-1))


def _parts(error: np.ndarray, frames: np.ndarray) -> dict[str, Sequence[float | None]]:
    by_seed = error.sum(axis=(1, 2)) / frames.sum()
    sums, counts = error.mean(axis=0).sum(axis=0), frames.sum(axis=0)
    by_noise = tuple(float(s / c) if c else None for s, c in zip(sums, counts, strict=True))
    return {"by_seed": tuple(map(float, by_seed)), "by_noise": by_noise}
