"""Score the clips of every system by every metric that the manifest allows, and make the result file's records.

Clips are dealt out to the processes of a torch.distributed group, where there is one; figures are made of all rows in
the manifest's order, so that one process and several give the same.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import distributed

from calm import audio
from calm.errors import DataError
from calm.evaluation.files import TrialFiles
from calm.evaluation.manifest import Manifest, ManifestItem
from calm.evaluation.processes import place
from calm.evaluation.results import column_record, figure_record
from calm.evaluation.store import Measured, RowStore, digest
from calm.evaluation.systems import ORIGINAL, System, original
from calm.metrics import ClipMetric, SetMetric, Unscored, figures_of
from calm.types import Task

__all__ = ["Evaluation", "evaluate"]

#: clips shorter than this are no audio
MIN_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is judged by what.

    Args:
        metrics: by registered name. folder: where measured rows are kept.
        reference: originals of this manifest are what set metrics compare with; None for those of ``manifest``, which
            then have no distance themselves.
        advance: called with (system, finished, of all) after every clip of this process.
    """

    manifest: Manifest
    systems: tuple[System, ...]
    metrics: Mapping[str, ClipMetric]
    folder: Path
    reference: Manifest | None = None
    advance: Callable[[str, int, int], None] = lambda system, finished, total: None


@dataclass(kw_only=True)
class _Found:
    """What one process found out about one system; ``keys``: metric -> item number -> key of its rows."""

    system: System
    manifest: Manifest
    clips: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)
    unscored: dict[str, dict[str, str]] = field(default_factory=dict)
    keys: dict[str, dict[int, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def evaluate(evaluation: Evaluation) -> dict[str, Any]:
    """Return the sections ``columns``, ``metrics``, ``systems``, ``reference_set`` and ``timings`` of the result file.

    Every process returns the same.
    """
    rank, world = place()
    run = _Run(evaluation, rank=rank, world=world)
    reference = run.reference()
    systems, timings = {}, {}
    for system in evaluation.systems:
        found = run.measure(system, evaluation.manifest, evaluation.metrics)
        figures = run.figures(found, reference=None if _is_own(system, evaluation) else reference)
        merged = _merge(_gathered(found, world))
        systems[system.name] = _record(system, evaluation, merged, figures)
        timings[system.name] = {name: round(seconds, 3) for name, seconds in sorted(merged.seconds.items())}
    return {
        "columns": {c.key: column_record(c, metric=n) for n, metric in evaluation.metrics.items() for c in metric.columns},
        "metrics": {name: _about(metric) for name, metric in evaluation.metrics.items()},
        "systems": systems,
        "reference_set": None if reference is None else _about_reference(_merge(_gathered(reference, world))),
        "timings": timings,
    }


class _Run:
    """One process's share of an evaluation."""

    def __init__(self, evaluation: Evaluation, *, rank: int, world: int) -> None:
        self.evaluation, self.rank, self.world = evaluation, rank, world
        self._prints = {name: digest(name, _about(metric)) for name, metric in evaluation.metrics.items()}
        self._stores: dict[tuple[str, str], RowStore] = {}

    def measure(self, system: System, manifest: Manifest, metrics: Iterable[str]) -> _Found:
        """Measure this process's clips of a system, as far as their rows are not stored."""
        found = _Found(system=system, manifest=manifest)
        numbers = range(self.rank, len(manifest.items), self.world)
        for done, number in enumerate(numbers, start=1):
            self._measure_item(number, list(metrics), found)
            self.evaluation.advance(system.name, done, len(numbers))
        return found

    def reference(self) -> _Found | None:
        """The originals that set metrics compare with, or None where there are neither originals nor such metrics."""
        manifest = self.evaluation.reference or self.evaluation.manifest
        sets = [name for name, metric in self.evaluation.metrics.items() if isinstance(metric, SetMetric)]
        own = original(manifest)
        return self.measure(own, manifest, sets) if own is not None and sets else None

    def figures(self, found: _Found, *, reference: _Found | None) -> dict[str, dict[str, Any]]:
        """Figures of every task and metric; a collective call."""
        figures: dict[str, dict[str, Any]] = {}
        tasks = [Task(task) for task in self.evaluation.manifest.counts()]
        for task in sorted(tasks, key=lambda task: task.id):
            for name, metric in self.evaluation.metrics.items():
                if task not in metric.tasks or (isinstance(metric, SetMetric) and reference is None):
                    continue
                metric.reset()
                for number, rows in self._rows(name, task, found):
                    metric.update(number, rows)
                if isinstance(metric, SetMetric):
                    for number, rows in self._rows(name, task, reference):
                        metric.update_reference(number, rows)
                with warnings.catch_warnings():
                    # A process without a clip takes part as well, which torchmetrics finds odd.
                    warnings.filterwarnings("ignore", message=".*was called before the ``update`` method.*")
                    computed = figures_of(metric.compute())
                if computed:
                    figures.setdefault(str(task), {}).update({key: figure_record(f) for key, f in computed.items()})
                metric.reset()
        return figures

    def _rows(self, metric: str, task: Task, found: _Found) -> Iterator[tuple[int, Any]]:
        store = self._store(found.system.name, metric)
        for number, key in found.keys.get(metric, {}).items():
            if found.manifest.items[number].item.task is task:
                yield number, store.get(key).rows

    def _measure_item(self, number: int, metrics: Sequence[str], found: _Found) -> None:
        system, entry = found.system, found.manifest.items[number]
        name = entry.item.id
        path = system.clips.get(name)
        if path is None:
            found.missing.append(name)
            return
        if name in system.doubled:
            found.unusable[name] = f"more than one file has this id, beside {path.name}"
            return
        try:
            header = audio.info(path)
            if header.seconds < MIN_SECONDS:
                raise DataError(f"The clip has {header.seconds:.3f} s, fewer than {MIN_SECONDS}")
            files = TrialFiles(system=system, entry=entry, path=path)
            files.clip()  # a damaged clip is found whatever the metrics
            found.clips[name] = {"audio": path, "seconds": header.seconds, "sample_rate": header.sample_rate}
            for metric in self._metrics_for(metrics, entry, system):
                self._measure_metric(metric, number, files, found)
        except DataError as error:
            found.clips.pop(name, None)
            for keys in found.keys.values():
                keys.pop(number, None)
            found.unusable[name] = error.what

    def _metrics_for(self, names: Sequence[str], entry: ManifestItem, system: System) -> list[str]:
        has = {
            "text": bool(entry.item.text), "reference": entry.reference is not None,
            # An original has nothing but itself to be compared with.
            "target": entry.target is not None and system.name != ORIGINAL,
            "log": "seconds_taken" in system.logs.get(entry.item.id, {}),
        }  # fmt: skip
        metrics = [(name, self.evaluation.metrics[name]) for name in names]
        return [n for n, m in metrics if entry.item.task in m.tasks and all(has[need] for need in m.needs)]

    def _measure_metric(self, name: str, number: int, files: TrialFiles, found: _Found) -> None:
        metric, store = self.evaluation.metrics[name], self._store(files.system.name, name)
        try:
            key = digest(self._prints[name], files.content(metric.needs))
            files.others(metric.needs)
        except DataError as error:  # of the reference or the original, not of the clip
            found.unscored.setdefault(name, {})[files.entry.item.id] = error.what
            return
        if key not in store:
            started = time.perf_counter()
            try:
                rows, reason = metric.measure(files.trial(metric.needs)), ""
            except Unscored as error:
                rows, reason = None, error.what
            store.put(key, Measured(rows=rows, reason=reason, seconds=time.perf_counter() - started))
        measured = store.get(key)
        found.seconds[name] = found.seconds.get(name, 0.0) + measured.seconds
        if measured.rows is None:
            found.unscored.setdefault(name, {})[files.entry.item.id] = measured.reason
            return
        found.keys.setdefault(name, {})[number] = key
        found.clips[files.entry.item.id] |= metric.scores(measured.rows)

    def _store(self, system: str, metric: str) -> RowStore:
        if (system, metric) not in self._stores:
            # A system's name may be anything: its folder is a hash.
            folder = self.evaluation.folder / f"{metric}-{self._prints[metric]}" / digest(system)
            self._stores[system, metric] = RowStore(folder, process=self.rank)
        return self._stores[system, metric]


def _about(metric: ClipMetric) -> dict[str, Any]:
    config = getattr(metric, "config", None)
    settings = dataclasses.asdict(config) if dataclasses.is_dataclass(config) else {}
    settings.pop("folder", None)  # a place on this machine; the hash of its weights says more
    return {"config": settings, **metric.describe()}


def _gathered(found: _Found, world: int) -> list[_Found]:
    if world == 1:
        return [found]
    parts: list[Any] = [None] * world
    distributed.all_gather_object(parts, found)
    return parts


def _about_reference(found: _Found) -> dict[str, Any]:
    """What set metrics compared with: which list, how many clips, their audio, and what could not be used."""
    counts = Counter(str(e.item.task) for e in found.manifest.items if e.item.id in found.clips)
    return {
        "name": found.manifest.name,
        "manifest_sha256": found.manifest.sha256,
        "audio_sha256": digest(sorted(key for keys in found.keys.values() for key in keys.values())),
        "clips": dict(counts),
        "missing": sorted(found.missing),
        "unusable": dict(sorted(found.unusable.items())),
    }


def _is_own(system: System, evaluation: Evaluation) -> bool:
    """Whether these are the clips that set metrics compare with."""
    return system.name == ORIGINAL and evaluation.reference is None


def _merge(parts: Sequence[_Found]) -> _Found:
    merged = _Found(system=parts[0].system, manifest=parts[0].manifest)
    for part in parts:
        merged.clips |= part.clips
        merged.missing += part.missing
        merged.unusable |= part.unusable
        for name, keys in part.keys.items():
            merged.keys.setdefault(name, {}).update(keys)
        for name, reasons in part.unscored.items():
            merged.unscored.setdefault(name, {}).update(reasons)
        for name, seconds in part.seconds.items():
            merged.seconds[name] = merged.seconds.get(name, 0.0) + seconds
    return merged


def _record(system: System, evaluation: Evaluation, found: _Found, figures: dict[str, Any]) -> dict[str, Any]:
    """The system's record, items in the manifest's order."""
    order = [entry.item.id for entry in evaluation.manifest.items]
    task_of = {entry.item.id: str(entry.item.task) for entry in evaluation.manifest.items}
    rates = {task: Counter(c["sample_rate"] for n, c in found.clips.items() if task_of[n] == task) for task in figures}
    return {
        "source": dict(system.source),
        "figures": figures,
        "items": {name: found.clips[name] for name in order if name in found.clips},
        "seconds": sum(found.clips[name]["seconds"] for name in order if name in found.clips),
        "sample_rates": {task: {str(rate): count[rate] for rate in sorted(count)} for task, count in rates.items()},
        # They are scored, as every scorer resamples, but somebody should look at them.
        "other_rate": [n for n in order if n in found.clips and _is_odd(found.clips[n], rates.get(task_of[n], Counter()))],
        "skipped": {
            "missing": [name for name in order if name in set(found.missing)],
            "extra": list(system.extra),
            "unusable": {name: found.unusable[name] for name in order if name in found.unusable},
            "unscored": {
                metric: {name: reasons[name] for name in order if name in reasons}
                for metric, reasons in sorted(found.unscored.items())
            },
        },
    }


def _is_odd(clip: Mapping[str, Any], rates: Counter[int]) -> bool:
    """Whether a clip has another rate than most of its system and task."""
    return bool(rates) and clip["sample_rate"] != rates.most_common(1)[0][0]
