"""The report of `vae_architectures.py`: what two VAEs leave of the same clips, with paired differences."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from calm.audio import write_bytes
from calm.evaluation.lists import ClipItem, load_clips
from calm.evaluation.machine import machine_record
from calm.evaluation.reconstruction import Fidelity, MelDistance, compare, reconstruct
from calm.evaluation.study import as_json
from calm.metrics.intervals import mean
from calm.model.trained_vae import load_vae
from calm.training.history import read_history
from calm.types import TASKS
from calm.vae import VAE

PACKAGES = ("audiocalm", "torch", "numpy", "encodec", "pystoi", "lightning")


def report(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Reconstruct the same clips with both VAEs, write the figures and draw the table."""
    folders = {"ours": options.ours, "seanet": options.run_dir}
    vaes = {name: load_vae(folder / "export") for name, folder in folders.items()}
    groups = clips_of(options)
    results: dict[str, Any] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        for name, clips in groups.items():
            rows = list(progress.track((fidelities(vaes, clip) for clip in clips), total=len(clips), description=name))
            results[name] = figures(rows)
    found = {
        "results": as_json(results),
        "runs": {name: describe_run(folder, vaes[name]) for name, folder in folders.items()},
        "settings": {"corpus": str(options.corpus), "split": options.split, "limit": options.limit, "windows_ms": "2 to 128"},
        "machine": machine_record(PACKAGES),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(options.out, (json.dumps(found, indent=2) + "\n").encode())
    console.print(table_of(found))
    for name, about in found["runs"].items():
        console.print(f"{name}: {about}", highlight=False)
    return found


def clips_of(options: argparse.Namespace) -> dict[str, list[ClipItem]]:
    """Held-out clips of every task, then the real recordings where they are; at most ``limit`` each, in seeded order."""
    found = {str(task): load_clips(options.corpus, split=options.split, task=task) for task in TASKS}
    if options.real.is_dir():
        real = options.real.resolve()
        found |= {f"real {task}": load_clips(real.parent, split=real.name, task=task) for task in TASKS}
    return {name: drawn(clips, options.limit) for name, clips in found.items() if clips}


def drawn(clips: Sequence[ClipItem], limit: int) -> list[ClipItem]:
    return [clips[number] for number in np.random.default_rng(0).permutation(len(clips))[:limit]]


def fidelities(vaes: dict[str, VAE], clip: ClipItem) -> dict[str, Fidelity]:
    original = clip.audio()
    return {
        name: compare(reconstruct(vae, original), original, distance=MelDistance(vae.sample_rate))
        for name, vae in vaes.items()
    }


def figures(rows: list[dict[str, Fidelity]]) -> dict[str, Any]:
    """Mean of each measure for both VAEs, and of ours - theirs on the same clips."""
    found = {}
    for measure in ("mel", "stoi"):
        pairs = [(getattr(row["ours"], measure), getattr(row["seanet"], measure)) for row in rows]
        pairs = [pair for pair in pairs if None not in pair]
        if pairs:
            ours, theirs = zip(*pairs, strict=True)
            difference = [a - b for a, b in pairs]
            found[measure] = {"ours": mean(ours), "seanet": mean(theirs), "difference": mean(difference)}
    return found


def describe_run(folder: Path, vae: VAE) -> dict[str, Any]:
    """Size and cost of a run, and for EnCodec's architecture what was chosen and tried."""
    rows = read_history(folder / "history.csv")
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in vae.parameters())}
    if rows:
        found |= {"steps": rows[-1][0], "wall_minutes": round(rows[-1][1] / 60, 2)}
    for name in ("result.json", "plan.json"):
        if (folder / name).is_file():
            found[name.removesuffix(".json")] = json.loads((folder / name).read_text(encoding="utf-8"))
    return found


def table_of(found: dict[str, Any]) -> Table:
    table = Table(title="reconstruction: our VAE and EnCodec's architecture, same data and budget")
    for column in ("clips", "measure", "items", "ours", "EnCodec's", "difference, 95 %", "ours is"):
        table.add_column(column, justify="left" if column in ("clips", "measure", "ours is") else "right")
    for group, measures in found["results"].items():
        for measure, values in measures.items():
            if measure == "stoi" and "speech" not in group:
                continue
            difference = values["difference"]
            table.add_row(
                group,
                {"mel": "log-mel distance", "stoi": "STOI"}[measure],
                str(difference["count"]),
                f"{values['ours']['value']:.3f}",
                f"{values['seanet']['value']:.3f}",
                f"{difference['value']:+.3f} ({difference['low']:+.3f} .. {difference['high']:+.3f})",
                verdict(measure, difference),
            )
    return table


def verdict(measure: str, difference: dict[str, float]) -> str:
    """Better or worse where the interval of the difference says so; a distance is better where it is smaller."""
    sign = {"mel": -1, "stoi": 1}[measure]
    low, high = sorted((sign * difference["low"], sign * difference["high"]))
    if low > 0:
        return "[green]better"
    return "[red]worse" if high < 0 else "as good, within the interval"
