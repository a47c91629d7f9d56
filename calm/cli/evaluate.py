"""`calm evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from calm.cli.errors import console
from calm.errors import InputError

__all__ = ["evaluate"]

COMMAND = "calm evaluate"


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
        list[str] | None, typer.Option("--model", help="Shipped model, export or run that makes the audio; repeatable.")
    ] = None,
    baseline: Annotated[
        list[str] | None, typer.Option("--baseline", help="A system of `calm components baseline` that makes the audio.")
    ] = None,
    reconstruct: Annotated[str | None, typer.Option(help="Model whose VAE encodes and decodes the originals.")] = None,
    originals: Annotated[bool, typer.Option(help="Judge the manifest's own recordings as well.")] = True,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="See `calm components metric`; by default those without downloads.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Manifest whose originals FAD and KAD compare with; by default this one's.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most items of each task, spread over the list.")] = None,
    seed: Annotated[int, typer.Option(help="Item i of a model has seed + i.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, mps or cuda:N, for models and scorers.")] = "cpu",
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of results.json, rows and generated audio.")] = Path(
        "runs/evaluate"
    ),
) -> None:
    """Judge speech, sound and music: a model's, or finished audio of any system.

    Example: calm evaluate --benchmark real --data my_clips --model mini --system other=their_audio -o runs/judged
    Run it again after Ctrl-C: it goes on. Several processes: torchrun --nproc-per-node 2 -m calm evaluate ...
    """
    from calm import registry
    from calm.evaluation.choose import choose_metrics, component, split_words
    from calm.evaluation.judge import default_metrics, judge
    from calm.evaluation.kept import keep_list
    from calm.evaluation.made import baseline_systems, made_systems
    from calm.evaluation.manifest import first_items, read_manifest
    from calm.evaluation.processes import place, process_group
    from calm.evaluation.systems import find_system

    if (manifest is None) == (benchmark is None):
        raise InputError("Give one of --manifest and --benchmark", where=COMMAND, allowed=registry.names("benchmark"))
    if benchmark is not None and data is None:
        raise InputError("A benchmark needs the folder of its files", where="--data")
    chosen = metric or default_metrics(registry.names("metric"))
    options = split_words(words or [], allowed=[*chosen, "generate", *([benchmark] if benchmark else []), *(baseline or [])])
    with process_group():
        if benchmark is None:
            items = keep_list(lambda: first_items(read_manifest(manifest), limit), out)
        else:
            builder = component("benchmark", benchmark, {"folder": str(data), **options.get(benchmark, {})})
            items = keep_list(lambda: first_items(builder.manifest(out / "benchmark"), limit), out)
        metrics = choose_metrics(chosen, options, items, device=device, folder=out / "language")
        named = [_pair(text) for text in system or []]
        systems = [find_system(name, folder, items) for name, folder in named]
        made, failed = made_systems(
            items, models=model or [], vae_of=reconstruct, out=out, seed=seed, device=device, options=options.get("generate", {})
        )
        others, lacking = baseline_systems(items, names=baseline or [], options=options, out=out, seed=seed)
        against = None if reference is None else read_manifest(reference)
        notes = {"seed": seed, "generate": options.get("generate", {}), "failed": failed | lacking}
        path = judge(items, [*systems, *others, *made], metrics, out, originals=originals, reference=against, notes=notes)
        if place()[0] == 0:
            _show(path)


def _pair(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals or not name or not folder:
        raise InputError(f"'{text}' names no system", where="--system", allowed="NAME=FOLDER")
    return name, Path(folder)


def _show(path: Path) -> None:
    """A table of the figures, then a line for everything that was left out."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from calm.evaluation.results import read_results

    results = read_results(path)
    for task in results["benchmark"]["items"]:
        keys = [key for key in results["columns"] if any(key in s["figures"].get(task, {}) for s in results["systems"].values())]
        if not keys:
            continue
        table = Table(title=f"{escape(results['benchmark']['name'])}, {task}", box=None)
        for column in ("system", *(results["columns"][key]["label"] for key in keys)):
            table.add_column(column, justify="left" if column == "system" else "right")
        for name, record in results["systems"].items():
            table.add_row(escape(name), *(_cell(record["figures"].get(task, {}).get(key), results["columns"][key]) for key in keys))
        Console().print(table)
    for line in _complaints(results):
        console().print(line)
    console().print(f"{path}")


def _cell(figure: dict[str, Any] | None, column: dict[str, Any]) -> str:
    if figure is None:
        return "–"
    digits = column["digits"]
    return f"{figure['value']:.{digits}f} ({figure['low']:.{digits}f}–{figure['high']:.{digits}f})"


def _complaints(results: dict[str, Any]) -> list[str]:
    lines = [f"manifest: {line}" for line in results["benchmark"]["rejected"]]
    for name, record in results["systems"].items():
        skipped = record["skipped"]
        lines += [f"{name}: no audio for {_some(skipped['missing'])}"] * bool(skipped["missing"])
        lines += [f"{name}: not in the manifest: {_some(skipped['extra'])}"] * bool(skipped["extra"])
        lines += [f"{name}: {clip}: {reason}" for clip, reason in skipped["unusable"].items()]
        lines += [f"{name}: another sample rate than most: {_some(record['other_rate'])}"] * bool(record["other_rate"])
        for metric, reasons in skipped["unscored"].items():
            lines += [f"{name}: {clip}: no {metric}: {reason}" for clip, reason in reasons.items()]
    return lines


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{len(names)} clips: {shown}{', ...' if len(names) > 5 else ''}"
