"""A small manifest with files, and metrics whose figures can be computed by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from calm.evaluation.manifest import Manifest, read_manifest
from calm.metrics import ClipMetric, Column, Figure, Rows, SetMetric, Trial, Unscored
from calm.metrics.intervals import mean

RATE = 16_000


def tone(amplitude: float, *, seconds: float = 0.5, rate: int = RATE, hertz: float = 300.0) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def make_manifest(folder: Path, *, count: int = 6) -> Manifest:
    """Items of all tasks in turn, whose originals are tones of amplitude 0.1, 0.2, ..."""
    lines = [{"benchmark": "toy", "protocol": {"list": "made"}}]
    (folder / "targets").mkdir(parents=True)
    for number in range(count):
        name, task = f"item-{number}", ("speech", "sound", "music")[number % 3]
        soundfile.write(folder / "targets" / f"{name}.wav", tone(0.1 * (1 + number % 8)), RATE)
        lines.append({"id": name, "task": task, "text": f"words of {number}", "target": f"targets/{name}.wav", "seconds": 0.5})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_manifest(folder)


def make_system(folder: Path, manifest: Manifest, *, gain: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for entry in manifest.items:
        audio, rate = soundfile.read(entry.target)
        soundfile.write(folder / f"{entry.item.id}.wav", gain * audio, rate)
    return folder


class Peak(ClipMetric):
    """Mean of the largest sample; a clip that is silent has none."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["peak"] = "peak"
        scale: float = 1.0

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config, self.measured = config or self.Config(), []

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column(key="peak", label="Peak", better="higher"),)

    def measure(self, trial: Trial) -> np.ndarray:
        self.measured.append(trial.item.id)
        peak = float(trial.clip.audio.abs().max())
        if peak == 0:
            raise Unscored("The clip is silent", where=trial.item.id)
        return np.array([self.config.scale * peak])

    def figures(self, rows: Rows) -> dict[str, Figure]:
        return {"peak": mean(rows.values[:, 0])}

    def scores(self, rows: np.ndarray) -> dict[str, float]:
        return {"peak": float(rows[0, 0])}


class Against(ClipMetric):
    """Mean of the largest sample over that of the original."""

    needs = ("target",)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column(key="against", label="Against", better="higher"),)

    def measure(self, trial: Trial) -> np.ndarray:
        return np.array([float(trial.clip.audio.abs().max() / trial.target.audio.abs().max())])

    def figures(self, rows: Rows) -> dict[str, Figure]:
        return {"against": mean(rows.values[:, 0])}


class Apart(SetMetric):
    """Distance of the mean RMS of two sets."""

    def __init__(self) -> None:
        super().__init__(width=2)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column(key="apart", label="Apart", better="lower"),)

    def measure(self, trial: Trial) -> np.ndarray:
        halves = trial.clip.audio.double().chunk(2, dim=-1)
        return np.array([[float(half.square().mean().sqrt()), 1.0] for half in halves])

    def distance(self, rows: Rows, reference: Rows) -> dict[str, Figure]:
        found = abs(rows.values[:, 0].mean() - reference.values[:, 0].mean())
        return {"apart": Figure(value=found, low=found, high=found, count=len(rows.by_clip()))}
