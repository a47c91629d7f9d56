"""Part ``speed``: streaming on this machine's core, in a warm process, and the first line of a fresh one."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from calm.errors import CheckpointError
from calm.evaluation.study import Study
from calm.generation import AudioCALM
from calm.generation.growth import core_is_free
from calm.metrics.intervals import median
from calm.model.precision import choose_precision
from calm.types import Task

__all__ = ["measure_speed"]

NUM_RUNS = 20
TEXTS = {
    Task.SPEECH: "The quick train leaves the old harbour at half past seven every morning.",
    Task.SOUND: "A dog barks twice while it rains.",
    Task.MUSIC: "A calm piano melody over guitar.",
}
SECONDS = {Task.SOUND: 5.0, Task.MUSIC: 5.0}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One streamed clip: wall seconds to the first piece and to the last, and seconds of audio."""

    first: float
    whole: float
    audio: float


def measure_speed(study: Study, *, folder: Path, runs: int = NUM_RUNS) -> dict[str, Any]:
    """Real-time factor and time to the first audio by task (medians), and seconds from a shell to a WAV.

    In the precision that ``calm generate`` chooses by default: the other parts listen to the model as it was trained.
    """
    device = study.model.model.null_text.device
    precision = choose_precision("auto", device=device)
    model = AudioCALM.from_pretrained(folder, device=str(device), precision=precision)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # The decoder may have a core of its own: then a clip takes two.
    cores = 2 if core_is_free(model.model) else 1
    try:
        found: dict[str, Any] = {str(task): _streamed(study, model, task, runs) for task in TEXTS}
    finally:
        torch.set_num_threads(threads)
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    machine = {"load_average": load, "threads": 1, "cores": cores, "precision": precision}
    return {**found, "cold_start_seconds": _cold_start(folder), **machine, "runs": runs}


def _streamed(study: Study, model: AudioCALM, task: Task, runs: int) -> dict[str, Any]:
    options = {"duration": SECONDS[task]} if task in SECONDS else {}
    _run(model, task, options, seed=0)  # warm: the first call allocates and compiles
    numbers = list(range(runs))
    rows = [_run(model, task, options, seed=number) for number in study.each(f"stream {task}", numbers)]
    return {
        "rtf": median([row.whole / row.audio for row in rows]),
        "first_audio_ms": median([1000 * row.first for row in rows]),
        "first_audio_ms_p95": 1000 * statistics.quantiles([row.first for row in rows], n=20)[-1] if runs > 1 else None,
        "audio_seconds": statistics.median(row.audio for row in rows),
    }


def _run(model: AudioCALM, task: Task, options: dict[str, Any], *, seed: int) -> Run:
    started, first, audio = time.perf_counter(), 0.0, 0.0
    for piece in model.generate_streaming(TEXTS[task], task=str(task), seed=seed, **options):
        first = first or time.perf_counter() - started
        audio += piece.seconds
    return Run(first=first, whole=time.perf_counter() - started, audio=audio)


def _cold_start(folder: Path) -> float:
    """Seconds of a new process from its start to a written WAV."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "first.wav"
        command = [sys.executable, "-m", "calm", "generate", "--task", "speech", "--text", TEXTS[Task.SPEECH]]
        started = time.perf_counter()
        done = subprocess.run(
            [*command, "--model", str(folder.resolve()), "-o", str(out)], capture_output=True, text=True, check=False
        )
        taken = time.perf_counter() - started
        if done.returncode != 0 or not out.is_file():
            reason = (done.stderr or done.stdout).strip()[-500:]
            raise CheckpointError(f"`calm generate` failed: {reason}", where=folder)
    return taken
