"""`calm evaluate`: manifest and systems in, ``results.json`` out."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from calm.errors import DataError, InputError
from calm.evaluation.machine import machine_record
from calm.evaluation.manifest import Manifest
from calm.evaluation.processes import barrier, place
from calm.evaluation.results import write_results
from calm.evaluation.run import Evaluation, evaluate
from calm.evaluation.systems import System, check_names, original
from calm.metrics import ClipMetric, SetMetric

__all__ = ["check_metrics", "default_metrics", "judge", "open_folder", "progress_bars"]

#: what is measured where nothing else is asked for: scorers that need no download
DEFAULT_METRICS = ("wer", "sim", "dnsmos", "length_error", "fad", "kad", "speed")
PACKAGES = ("torch", "torchmetrics", "numpy", "soxr", "soundfile", "transformers")


def default_metrics(available: Sequence[str]) -> list[str]:
    """Names of ``DEFAULT_METRICS`` that exist."""
    return [name for name in DEFAULT_METRICS if name in available]


def judge(
    manifest: Manifest,
    systems: Sequence[System],
    metrics: Mapping[str, ClipMetric],
    out: Path,
    *,
    originals: bool = True,
    reference: Manifest | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Path:
    """Score all systems and write ``out/results.json``; rows that ``out/rows`` has already are not measured again.

    Args:
        originals: whether the manifest's own recordings are judged as well, as the system "original".
        reference: its originals are what set metrics compare with; by default those of ``manifest``.
        notes: JSON values for the result file's section ``notes`` (seeds, options, failures of a generation).
    Raises InputError where two systems have one name, DataError where there is nothing to judge.
    """
    own = original(manifest)
    every = [*([own] if originals and own is not None else []), *systems]
    check_names([system.name for system in systems])
    check_metrics(metrics)
    if not every:
        raise DataError("There is nothing to judge", where=manifest.name, hint="--system NAME=FOLDER or --model NAME")
    if reference is not None and original(reference) is None:
        raise DataError("The reference list has no originals", where=reference.name, allowed="items with `target`")
    with progress_bars() as advance:
        found = evaluate(
            Evaluation(
                manifest=manifest, systems=tuple(every), metrics=metrics, folder=out / "rows",
                reference=reference, advance=advance,
            )
        )  # fmt: skip
    path = out / "results.json"
    if place()[0] == 0:
        for record in found["systems"].values():
            for clip in record["items"].values():
                clip["audio"] = shown(clip["audio"], out)
        about = {"without_figures": _without_figures(metrics, found["systems"]), **(notes or {})}
        write_results({"benchmark": _benchmark(manifest, out), **found, "notes": about, "hardware": _hardware()}, path)
    barrier()
    return path


def check_metrics(metrics: Mapping[str, ClipMetric]) -> None:
    """Raise InputError where two metrics fill one column."""
    filled: dict[str, str] = {}
    for name, metric in metrics.items():
        for column in metric.columns:
            if filled.setdefault(column.key, name) != name:
                raise InputError(
                    f"'{filled[column.key]}' and '{name}' both fill the column '{column.key}'", where="--metric", hint="choose one"
                )


def open_folder(out: Path) -> Path:
    """Make the folder of an evaluation. Raises InputError where nothing can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (probe := out / f".probe-{os.getpid()}").touch()
        probe.unlink()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(f"Nothing can be written there ({error.strerror})", where=out, hint="choose another -o") from None
    return out


@contextlib.contextmanager
def progress_bars() -> Iterator[Any]:
    """A bar for each name that is told of; the first process alone shows them."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=place()[0] > 0) as progress:
        rows: dict[str, Any] = {}

        def advance(what: str, finished: int, total: int) -> None:
            if what not in rows:
                rows[what] = progress.add_task(what, total=total)
            progress.update(rows[what], completed=finished)

        yield advance


def shown(path: Path, out: Path) -> str:
    """A path as the result file has it: relative below its folder, absolute elsewhere."""
    path, out = path.resolve(), out.resolve()
    return path.relative_to(out).as_posix() if path.is_relative_to(out) else path.as_posix()


def _without_figures(metrics: Mapping[str, ClipMetric], systems: Mapping[str, Any]) -> dict[str, str]:
    """Metrics that gave nothing for any system, with the reason."""
    there = {key for record in systems.values() for figures in record["figures"].values() for key in figures}
    reasons = {}
    for name, metric in metrics.items():
        if there.isdisjoint(column.key for column in metric.columns):
            needs = [f"`{need}`" for need in metric.needs if need != "log"]
            needs += ["speed records of the systems (generation.jsonl)"] * ("log" in metric.needs)
            needs += ["two originals or more to compare with"] * isinstance(metric, SetMetric)
            tasks = ", ".join(str(task) for task in metric.tasks)
            reasons[name] = f"it is for {tasks}" + (f" and needs {' and '.join(needs)}" if needs else "")
    return reasons


def _benchmark(manifest: Manifest, out: Path) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "manifest": None if manifest.path is None else shown(manifest.path, out),
        "manifest_sha256": manifest.sha256,
        "items": manifest.counts(),
        "protocol": dict(manifest.protocol),
        "rejected": list(manifest.rejected),
    }


def _hardware() -> dict[str, Any]:
    return {**machine_record(PACKAGES), "processes": place()[1], "omp_threads": os.environ.get("OMP_NUM_THREADS")}
