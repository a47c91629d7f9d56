"""`calm evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from calm.cli.errors import console
from calm.errors import InputError

__all__ = ["evaluate"]

#: clips of a set below which a remark stands beside its distances
ENOUGH_CLIPS = 100


def evaluate(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME.OPTION=VALUE]...", help="Options of metrics, of the benchmark, of a baseline, of generate.")
    ] = None,
    manifest: Annotated[Path | None, typer.Option(help="manifest.jsonl, or the folder that holds it.")] = None,
    benchmark: Annotated[str | None, typer.Option(help="A benchmark by name; see `calm components benchmark`.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the benchmark's own files.")] = None,
    system: Annotated[
        list[str] | None, typer.Option("--system", help="NAME=FOLDER of finished audio ID.wav; repeatable.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Shipped model, export or run that makes the audio, or NAME=FOLDER; repeatable.")
    ] = None,
    baseline: Annotated[
        list[str] | None, typer.Option("--baseline", help="A system of `calm components baseline` that makes the audio.")
    ] = None,
    reconstruct: Annotated[str | None, typer.Option(help="Model, or VAE alone, that encodes and decodes the originals.")] = None,
    originals: Annotated[bool, typer.Option(help="Judge the manifest's own recordings as well.")] = True,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="See `calm components metric`; by default those without downloads.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Manifest whose originals FAD and KAD compare with; by default this one's.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most items of each task, spread over the list.")] = None,
    seed: Annotated[int, typer.Option(help="Of models and baselines; each item has its own, which depends on this and its id.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, mps or cuda:N, for models and scorers.")] = "cpu",
    out: Annotated[Path, typer.Option("-o", "--out", "--output", help="Folder of results.json, rows and generated audio.")] = Path(
        "runs/evaluate"
    ),
) -> None:
    """Judge speech, sound and music: a model's, or finished audio of any system.

    Example: calm evaluate --benchmark real --data my_clips --model mini --system other=their_audio -o runs/judged
    Run it again after Ctrl-C: it goes on. Several processes: torchrun --nproc-per-node 2 -m calm evaluate ...
    """
    from calm.evaluation.processes import place
    from calm.evaluation.session import Wanted, run_session

    wanted = Wanted(
        manifest=manifest, benchmark=benchmark, data=data, systems=tuple(_pair(text) for text in system or []),
        models=tuple(model or ()), baselines=tuple(baseline or ()), reconstruct=reconstruct, originals=originals,
        metrics=tuple(metric or ()), words=tuple(words or ()), reference=reference, limit=limit, seed=seed, device=device,
        out=out,
    )  # fmt: skip
    path = run_session(wanted)
    if place()[0] == 0:
        _show(path)


def _pair(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals or not name or not folder:
        raise InputError(f"'{text}' names no system", where="--system", allowed="NAME=FOLDER")
    return name, Path(folder)


def _show(path: Path) -> None:
    """A table of the figures for each task, a line for everything that was left out, and the file."""
    from rich.console import Console

    from calm.evaluation.results import read_results

    results = read_results(path)
    for task in results["benchmark"]["items"]:
        if any(record["figures"].get(task) for record in results["systems"].values()):
            Console().print(_table(results, task))
    for line in _complaints(results):
        console().print(line)
    console().print(f"{path}")


def _table(results: dict[str, Any], task: str) -> Any:
    """Figures down, systems across: a cell has the value over its interval, so that several fit into 80 columns."""
    from rich.table import Table
    from rich.text import Text

    systems = {name: record["figures"].get(task, {}) for name, record in results["systems"].items()}
    table = Table(title=Text(f"{results['benchmark']['name']}, {task}"), box=None)
    table.add_column("figure")
    for name in systems:
        table.add_column(Text(name), justify="right")
    for key, column in results["columns"].items():
        if any(key in figures for figures in systems.values()):
            sign = "↓" if column["better"] == "lower" else "↑"
            unit = f", {column['unit']}" if column["unit"] else ""
            cells = [_cell(figures.get(key), column["digits"]) for figures in systems.values()]
            table.add_row(Text(f"{column['label']}{unit} {sign}"), *cells)
    return table


def _cell(figure: dict[str, Any] | None, digits: int) -> str:
    if figure is None:
        return "–"
    return f"{figure['value']:.{digits}f}\n{figure['low']:.{digits}f}–{figure['high']:.{digits}f}"


def _complaints(results: dict[str, Any]) -> list[str]:
    lines = [f"manifest: {line}" for line in results["benchmark"]["rejected"]]
    notes, against = results["notes"], results["reference_set"] or {"missing": [], "unusable": {}}
    lines += [f"reference set: {_some(against['missing'])} without audio"] * bool(against["missing"])
    lines += _grouped("reference set", against["unusable"])
    for name, reasons in notes.get("failed", {}).items():
        lines += _grouped(f"{name} did not make", reasons)
    for name, record in results["systems"].items():
        skipped = record["skipped"]
        lines += [f"{name}: no audio for {_some(skipped['missing'])}"] * bool(skipped["missing"])
        lines += [f"{name}: not in the manifest: {_some(skipped['extra'])}"] * bool(skipped["extra"])
        lines += _grouped(name, skipped["unusable"])
        lines += [f"{name}: another sample rate than most: {_some(record['other_rate'])}"] * bool(record["other_rate"])
        for metric, reasons in skipped["unscored"].items():
            lines += _grouped(f"{name}, no {metric}", reasons)
    distances = {key for key, column in results["columns"].items() if column["metric"] in ("fad", "kad")}
    lines += [
        f"{task}: FAD and KAD compare sets of {count} clips; below {ENOUGH_CLIPS} much of them is chance"
        for task, count in results["benchmark"]["items"].items()
        if count < ENOUGH_CLIPS and any(distances & set(record["figures"].get(task, {})) for record in results["systems"].values())
    ]
    return lines + [f"no {metric} at all: {reason}" for metric, reason in notes["without_figures"].items()]


def _grouped(about: str, reasons: dict[str, str]) -> list[str]:
    """A line for each reason, with the clips that it holds for."""
    clips: dict[str, list[str]] = {}
    for clip, reason in reasons.items():
        clips.setdefault(reason, []).append(clip)
    return [f"{about}: {names[0] if len(names) == 1 else _some(names)}: {reason}" for reason, names in clips.items()]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{len(names)} clip{'s' if len(names) > 1 else ''}: {shown}{', ...' if len(names) > 5 else ''}"
