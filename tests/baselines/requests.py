"""A small manifest of all three tasks, with reference clips that are there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

from calm.evaluation.manifest import Manifest, ManifestItem
from calm.metrics import Item
from calm.types import Task

RATE = 16000


def manifest(folder: Path, *, tasks: str = "speech sound music", per_task: int = 1, words: str = "The words.") -> Manifest:
    """Items SPEECH0, SOUND0, MUSIC0, SPEECH1 ... with short durations; ``words`` are those of the references."""
    reference = folder / "reference.wav"
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(reference, 0.1 * np.sin(np.arange(RATE // 10) / 5), RATE)
    items = []
    for number in range(per_task):
        for task in map(Task, tasks.split()):
            is_speech = task is Task.SPEECH
            item = Item(
                id=f"{task.name}{number}",
                task=task,
                text=f"-text {number} of {task}",
                reference_text=words if is_speech else "",
                seconds=0.02,
            )
            items.append(ManifestItem(item=item, reference=reference if is_speech else None))
    return Manifest(name="small", items=tuple(items))


def sounds(*texts: str) -> Manifest:
    """Sound items S0, S1, ... with these captions."""
    entries = [Item(id=f"S{number}", task=Task.SOUND, text=text, seconds=0.02) for number, text in enumerate(texts)]
    return Manifest(name="sounds", items=tuple(ManifestItem(item=entry) for entry in entries))


def log_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "generation.jsonl").read_text().splitlines()]
