"""Small corpora for the tests of the data: sine tones with a task, a text and a speaker."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

from calm.data.pack import pack

RATE = 8000


def write_corpus(folder: Path, *, num_speech: int = 8, num_sound: int = 4, num_music: int = 4) -> Path:
    """Write an AudioFolder: FLAC and WAV tones of 0.1 to 0.6 s, speech of two speakers (1.1 s and more)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows = []
    for task, count in (("speech", num_speech), ("sound", num_sound), ("music", num_music)):
        for i in range(count):
            name = f"{task}_{i}.{'wav' if i % 2 else 'flac'}"
            seconds = (1.1 if task == "speech" else 0.1) + 0.5 * rng.random()
            time = np.arange(int(seconds * RATE)) / RATE
            tone = 0.3 * np.sin(2 * np.pi * rng.uniform(100, 2000) * time) + 0.01 * rng.standard_normal(len(time))
            soundfile.write(folder / name, tone, RATE, subtype="PCM_16")
            row = {"file_name": name, "task": task, "text": f"{task} number {i}"}
            rows.append(row | ({"speaker": f"voice{i % 2}"} if task == "speech" else {}))
    write_manifest(folder, rows)
    return folder


def write_manifest(folder: Path, rows: list[dict]) -> Path:
    path = folder / "metadata.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def make_shards(folder: Path, **counts: int) -> Path:
    """Return a folder of shards of ``write_corpus``, six clips a shard."""
    pack(write_corpus(folder / "source", **counts), folder / "shards", samples_per_shard=6)
    return folder / "shards"
