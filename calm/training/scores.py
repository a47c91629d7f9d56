"""Figures of the rendered prompts, logged as ``samples/TASK/KEY``: what the loss does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from calm import registry
from calm.errors import ConfigError
from calm.metrics import ClipMetric, Item, SetMetric, Trial, Unscored, figures_of
from calm.types import Task, Waveform

__all__ = ["SampleScores"]


class SampleScores:
    """Scores clips of prompts that have a text and nothing else: no reference clip, no original.

    Args:
        metrics: by registered name; each needs the text at most.
    """

    def __init__(self, metrics: Mapping[str, ClipMetric]) -> None:
        self.metrics = metrics
        for metric in metrics.values():
            # The first process alone renders, and has all the clips.
            metric.sync_on_compute = False

    @classmethod
    def of(cls, names: Sequence[str]) -> SampleScores:
        """Build the metrics of these names with their defaults. Raises ConfigError for one that needs more than text."""
        metrics = {name: registry.build("metric", name) for name in names}
        for name, metric in metrics.items():
            if isinstance(metric, SetMetric) or set(metric.needs) - {"text"}:
                what = "a set of originals" if isinstance(metric, SetMetric) else " and ".join(metric.needs)
                raise ConfigError(
                    f"'{name}' needs {what}, and a rendered prompt has only its text",
                    where="trainer.metrics",
                    hint="measure it with `calm evaluate` on the run's export",
                )
        return cls(metrics)

    def __call__(self, clips: Sequence[tuple[Task, str, Waveform]]) -> dict[str, float]:
        """Return the figures of (task, prompt, clip) rows; a clip that a metric can say nothing of is left out."""
        values: dict[str, float] = {}
        for task in Task:
            for metric in self.metrics.values():
                if task not in metric.tasks:
                    continue
                metric.reset()
                for index, (clip_task, text, clip) in enumerate(clips):
                    if clip_task is task:
                        self._add(metric, index, Trial(item=Item(id=str(index), task=task, text=text), clip=clip))
                figures = figures_of(metric.compute()) if metric.update_called else {}
                values |= {f"samples/{task}/{key}": figure.value for key, figure in figures.items()}
                metric.reset()
        return values

    @staticmethod
    def _add(metric: ClipMetric, index: int, trial: Trial) -> None:
        try:
            metric.update(index, metric.measure(trial))
        except Unscored:
            return
