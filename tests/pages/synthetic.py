"""A run folder as the demo leaves it, made of tones and invented numbers: what a page needs, in a moment."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import torch

from calm import audio
from calm.pages.records import (
    Band,
    Clip,
    Curves,
    Fact,
    Overfit,
    OverfitPair,
    OverfitReading,
    Page,
    Reconstruction,
    Stage,
)
from calm.types import TASKS, Waveform

HOSTILE = 'A <b>bold</b> "voice" & <script>document.title = "broken"</script>'
RATE = 16_000


def tone(path: Path, *, seconds: float, hertz: float) -> str:
    """Write a chirp and return its name."""
    time = torch.arange(round(seconds * RATE)) / RATE
    wave = 0.4 * torch.sin(2 * math.pi * hertz * time * (1 + 0.3 * time)) * (0.5 + 0.5 * torch.cos(9 * time))
    audio.write(path, Waveform(audio=wave[None], sample_rate=RATE), provenance=None)
    return path.name


def history(path: Path, *, num_steps: int = 1500, seed: int = 0) -> str:
    """Write a history.csv with falling losses of every task."""
    rng = np.random.default_rng(seed)
    lines = ["step,seconds,name,value"]
    for step in range(5, num_steps + 1, 5):
        for index, task in enumerate(TASKS):
            level = 0.35 + 0.15 * index + 0.9 * math.exp(-step / (200 + 100 * index))
            lines.append(f"{step},{step / 4},train/flow_{task},{level * rng.uniform(0.8, 1.2):.5f}")
            if step % 150 == 0:
                lines.append(f"{step},{step / 4},val/flow/{task},{1.05 * level:.5f}")
                lines += [
                    f"{step},{step / 4},val/flow/{task}/t{b},{level * (1.5 - abs(b - 6) / 6):.5f}" for b in range(10)
                ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path.name


def vae_history(path: Path, *, num_steps: int = 900) -> str:
    """Write the history.csv of a VAE stage."""
    lines = ["step,seconds,name,value"]
    for step in range(10, num_steps + 1, 10):
        for name, scale in (("mel", 2.0), ("stft", 3.0)):
            level = scale * (0.3 + math.exp(-step / 200))
            lines.append(f"{step},{step / 3},train/{name},{level:.5f}")
            if step % 100 == 0:
                lines += [f"{step},{step / 3},val/{name}/{task},{level * (1 + 0.1 * task.id):.5f}" for task in TASKS]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path.name


def synthetic_page(folder: Path, *, seconds: float = 2.0) -> Page:
    """Write every file that the page names into ``folder`` and return the page."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    clips, reconstructions, pairs = [], [], []
    for index, task in enumerate(TASKS):
        for number, prompt in enumerate([f"The first prompt of {task}, long enough to take two lines of a card.", HOSTILE]):
            name = tone(folder / f"{task}-{number}.wav", seconds=seconds + index, hertz=200 + 150 * index + 80 * number)
            clips.append(
                Clip(
                    task=task,
                    prompt=prompt,
                    audio=name,
                    voice="a low male voice" if task == "speech" and number else None,
                    settings="10 steps, guidance 2",
                    finish_reason="duration" if index else "stop",
                    seed=number,
                    rtf=0.31 + 0.1 * index,
                    first_audio_seconds=0.081,
                )
            )
        original = tone(folder / f"{task}-original.wav", seconds=seconds, hertz=300 + 100 * index)
        copy = tone(folder / f"{task}-copy.wav", seconds=seconds, hertz=302 + 100 * index)
        text = f"A held-out clip of {task}."
        reconstructions.append(Reconstruction(task=task, text=text, original=original, reconstruction=copy))
        target = np.cumsum(rng.normal(size=(26, 32)), axis=0).astype(np.float32) / 3
        np.save(folder / f"{task}-target.npy", target)
        np.save(folder / f"{task}-sampled.npy", target + 0.1 * rng.normal(size=target.shape).astype(np.float32))
        pairs.append(
            OverfitPair(
                task=task,
                text=text,
                nmse=0.02 + 0.05 * index,
                target_latents=f"{task}-target.npy",
                sampled_latents=f"{task}-sampled.npy",
                target_audio=original,
                sampled_audio=copy,
            )
        )
    readings = [OverfitReading(step=50 * n, nmse=tuple((1 + 0.2 * k) / n for k in range(3))) for n in range(1, 9)]
    bands = (
        Band(name="align", start=0, stop=50, expert="off", tasks="all equally"),
        Band(name="shared", start=50, stop=700, expert="off", tasks="all equally"),
        Band(name="joint", start=700, expert="on", tasks="all equally"),
    )
    return Page(
        title="A small AudioCALM, from nothing",
        lead="One causal model that speaks, makes sounds and makes music, trained on this machine.",
        notes=("It was trained for minutes on two cores: expect rough audio.",),
        facts=tuple(Fact(label=label, value=f"{number} M parameters") for number, label in enumerate(["VAE", "Generator"])),
        clips=tuple(clips),
        reconstructions=tuple(reconstructions),
        overfit=Overfit(pairs=tuple(pairs), readings=tuple(readings), step=400, seconds=32.5),
        curves=(
            Curves(name="Generator", kind="generator", history=history(folder / "history.csv"), bands=bands),
            Curves(name="VAE", kind="vae", history=vae_history(folder / "vae.csv")),
        ),
        stages=(
            Stage(name="corpus", seconds=41.2, note="2,400 s of audio"),
            Stage(name="VAE", seconds=330.0, note="900 steps"),
            Stage(name="generator", seconds=355.0, note="1,500 steps"),
        ),
    )


def synthetic_run(folder: Path, **options) -> Path:
    """Write files and page.json; return the folder."""
    page = synthetic_page(folder, **options)
    (folder / "page.json").write_text(json.dumps(dataclasses.asdict(page)), encoding="utf-8")
    return folder
