"""Result files as an evaluation leaves them, with tones for clips: what a results page needs, in a moment."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from calm import audio
from calm.evaluation.manifest import Manifest, ManifestItem, write_manifest
from calm.metrics import Item
from calm.report import LoadedResults
from calm.types import Task, Waveform

HOSTILE = 'A <b>bold</b> "name" & <script>document.title = "broken"</script>'
RATE = 16_000
COLUMNS = {
    "wer": {"label": "WER", "better": "lower", "digits": 3, "unit": "", "metric": "wer"},
    "sim": {"label": "SIM", "better": "higher", "digits": 3, "unit": "", "metric": "sim"},
    "rtf": {"label": "RTF", "better": "lower", "digits": 2, "unit": "", "metric": "speed"},
    "fad": {"label": "FAD", "better": "lower", "digits": 2, "unit": "", "metric": "fad"},
    "clap": {"label": "CLAP", "better": "higher", "digits": 3, "unit": "", "metric": "clap"},
}
METRICS = {
    "wer": {"scorer": "pocketsphinx", "version": "5.1.1", "normaliser": "calm.metrics.words", "sample_rate": 16_000},
    "sim": {"scorer": "GE2E", "sha256": "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"},
    "speed": {"batch": 1, "streaming": True},
    "fad": {"scorer": "mel statistics", "settings": {"num_mels": 64, "reference": "audiocaps/test"}},
    "clap": {"scorer": "CLAP", "checkpoint": "630k-audioset-best"},
}
OF_TASK = {"speech": ("wer", "sim", "rtf"), "sound": ("fad", "clap", "rtf"), "music": ("fad", "clap", "rtf")}


def tone(path: Path, *, seconds: float = 0.3, hertz: float = 300.0, rate: int = RATE) -> Path:
    """Write a chirp."""
    time = torch.arange(round(seconds * rate)) / rate
    wave = 0.4 * torch.sin(2 * math.pi * hertz * time * (1 + 0.3 * time)) * (0.5 + 0.5 * torch.cos(9 * time))
    return audio.write(path, Waveform(audio=wave[None], sample_rate=rate), provenance=None)


def figure(value: float, *, spread: float = 0.05, count: int | None = 4) -> dict[str, Any]:
    """A figure as it stands in a file; published ones have no interval."""
    if count is None:
        return {"value": value, "low": None, "high": None, "count": None}
    return {"value": value, "low": value * (1 - spread), "high": value * (1 + spread), "count": count}


def system(kind: str, figures: dict[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A system of a result file: ``figures`` by task and column; what else a source says by keyword."""
    source = {"kind": kind} | {key: more.pop(key) for key in ("scope", "path", "paper", "table") if key in more}
    filled = {
        task: {key: cell if isinstance(cell, dict) else figure(cell) for key, cell in row.items()}
        for task, row in figures.items()
    }
    return {"source": source, "figures": filled, "items": {}, "skipped": {}} | more


def results(name: str, systems: dict[str, Any], *, folder: Path, manifest: Manifest | None = None) -> LoadedResults:
    """A result file of ``systems``; columns and metrics are those that their figures use."""
    used = {key for each in systems.values() for row in each["figures"].values() for key in row}
    used |= {key for each in systems.values() for item in each["items"].values() for key in item}
    columns = {key: dict(column) for key, column in COLUMNS.items() if key in used}
    benchmark: dict[str, Any] = {"name": name, "items": {}, "protocol": {}, "rejected": []}
    if manifest is not None:
        path = write_manifest(manifest, folder / f"{name}.jsonl")
        benchmark |= {"manifest": path.name, "manifest_sha256": manifest.sha256, "items": manifest.counts()}
    metrics = {column["metric"]: dict(METRICS[column["metric"]]) for column in columns.values()}
    found = {"format": "calm-results-1", "benchmark": benchmark, "columns": columns, "metrics": metrics}
    return LoadedResults(results=found | {"systems": systems}, folder=folder)


def manifest(name: str, folder: Path, *, tasks: tuple[str, ...] = ("speech",), count: int = 4) -> Manifest:
    """``count`` items of each task, with originals, labels, and voices for speech."""
    entries = []
    for task in tasks:
        for number in range(count):
            key = f"{task}-{number}"
            text = HOSTILE if number == 0 else f"Item {number} of {task}, in words that are read out or heard."
            item = Item(id=key, task=Task(task), text=text, labels=(f"label {number % 2}",), seconds=0.3)
            target = tone(folder / "originals" / f"{key}.wav", hertz=200 + 40 * number)
            voice = tone(folder / "voices" / f"{key}.wav", hertz=180) if task == "speech" else None
            entries.append(ManifestItem(item=item, reference=voice, target=target))
    return Manifest(name=name, items=tuple(entries), protocol={"list": "synthetic"})


def clips(listed: Manifest, folder: Path, name: str, *, hertz: float, wer: float = 0.1) -> dict[str, Any]:
    """Write a clip of every item; return a system's ``items``, with the scores of each."""
    items = {}
    for number, entry in enumerate(listed.items):
        key, task = entry.item.id, str(entry.item.task)
        tone(folder / name / f"{key}.wav", hertz=hertz + 20 * number)
        scores = dict.fromkeys(OF_TASK[task][:2], wer + 0.01 * number)
        items[key] = {"audio": f"{name}/{key}.wav", "seconds": 0.3, "sample_rate": RATE, **scores}
    return items


def speech_results(folder: Path, *, name: str = "libritts") -> LoadedResults:
    """Originals, ours, two others with audio, and a published one."""
    listed = manifest(name, folder)
    row = {"wer": 0.031, "sim": 0.700, "rtf": 0.41}
    systems = {
        "Original": system(
            "original", {"speech": {"wer": 0.022, "sim": 0.800}}, items=clips(listed, folder, "o", hertz=200)
        ),
        "Ours": system("model", {"speech": row}, scope="unified", items=clips(listed, folder, "a", hertz=240)),
        "One voice": system(
            "folder",
            {"speech": {"wer": 0.030, "sim": 0.650}},
            scope="modality-specific",
            items=clips(listed, folder, "b", hertz=280),
        ),
        HOSTILE: system(
            "folder",
            {"speech": {"wer": 0.050, "sim": 0.640}},
            scope="unified",
            items=clips(listed, folder, "c", hertz=320),
        ),
        "Slow one": system(
            "folder",
            {"speech": {"wer": 0.060, "sim": 0.600}},
            scope="modality-specific",
            items=clips(listed, folder, "d", hertz=360),
        ),
        "Paper": system(
            "published",
            {"speech": {"wer": figure(0.024, count=None)}},
            scope="modality-specific",
            paper="A paper, 2025",
            table="Table 2",
        ),
    }
    return results(name, systems, folder=folder, manifest=listed)


def sound_results(
    folder: Path, *, name: str = "audiocaps", tasks: tuple[str, ...] = ("sound", "music")
) -> LoadedResults:
    """Two systems on two tasks."""
    listed = manifest(name, folder, tasks=tasks)
    systems = {
        "Ours": system(
            "model",
            {task: {"fad": 2.1 + index, "clap": 0.31, "rtf": 0.3} for index, task in enumerate(tasks)},
            scope="unified",
            items=clips(listed, folder, "a", hertz=240),
        ),
        "Other": system(
            "folder",
            {task: {"fad": 1.9 + 2 * index, "clap": 0.33} for index, task in enumerate(tasks)},
            items=clips(listed, folder, "b", hertz=280),
        ),
    }
    return results(name, systems, folder=folder, manifest=listed)
