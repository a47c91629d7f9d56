"""A small corpus of real files for the scorers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from calm.corpus.clip import ClipPlan
from calm.corpus.render import make_clip
from calm.types import Task

RATE = 16000
SPEAKERS = {"train": 12, "validation": 4, "test": 3}


def write_split(folder: Path, entries: list[tuple[dict, np.ndarray]]) -> None:
    lines = []
    for entry, audio in entries:
        path = folder / entry["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, audio, RATE)
        lines.append(json.dumps({**entry, "duration": len(audio) / RATE, "sample_rate": RATE}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def voices_corpus(tmp_path_factory) -> Path:
    """Hums of many speakers at two pitches and rates, six clips of 0.8 s for each voice."""
    root = tmp_path_factory.mktemp("voices")
    rng = np.random.default_rng(0)
    for split, speakers in SPEAKERS.items():
        entries = []
        for speaker in range(speakers):
            for pitch in ("low", "high"):
                for number in range(6):
                    entry = {
                        "file_name": f"speech/{speaker}_{pitch}_{number}.wav",
                        "task": "speech",
                        "text": f"sentence {number} of {speaker} {pitch}.",
                        "speaker": f"{split}_{speaker}",
                        "attributes": {"pitch": pitch, "rate": "slow" if number < 4 else "fast"},
                    }
                    entries.append((entry, 0.1 * rng.standard_normal(round(0.8 * RATE))))
        write_split(root / split, entries)
    return root


@pytest.fixture(scope="session")
def scenes_corpus(tmp_path_factory) -> Path:
    """A few sound and music clips of the real generator, in every split."""
    root = tmp_path_factory.mktemp("scenes")
    plan = ClipPlan(seed=0, sample_rate=RATE, words=(3, 6), sound_seconds=(1.0, 2.0), music_seconds=(2.0, 3.0))
    for split, count in (("train", 8), ("validation", 4)):
        entries = []
        for task in (Task.SOUND, Task.MUSIC):
            for index in range(count):
                clip = make_clip(plan, task=task, split=split, index=index)
                name = f"{task}/{task}_{index:06d}.wav"
                entry = {"file_name": name, "task": str(task), "caption": clip.text, "attributes": clip.attributes}
                entries.append((entry, clip.audio))
        write_split(root / split, entries)
    return root
