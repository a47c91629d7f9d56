"""How far few Euler steps end from where the flow of a block ends, on either grid: `sampler.grid: auto` rests on it.

    python benchmarks/solver_error.py benchmarks/results/solver_error.json

Every block begins at the history that 64 steps have made, so that errors of one block are seen, not those that add up.
Mean squared error over the variance of the latents.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from calm.audio import write_bytes
from calm.evaluation.machine import machine_record
from calm.generation import AudioCALM
from calm.generation.plan import Call, make_plan
from calm.generation.sampler import sample_blocks
from calm.types import Task

PROMPTS = {
    Task.SPEECH: "The quick train leaves the old harbour at half past seven every morning.",
    Task.SOUND: "A dog barks three times.",
    Task.MUSIC: "A calm piano melody in a minor key.",
}
MODELS, GRIDS, STEPS, REFERENCE_STEPS = ("mini", "mini_ar_flow"), ("uniform", "sway"), (2, 3, 4, 5, 6, 8, 10), 64
SECONDS, CLIPS, BLOCKS = 6.0, 16, (0, 3, 5)


def blocks(system: AudioCALM, task: Task, *, steps: int, grid: str, history: Tensor | None = None, count: int = 1) -> list[Tensor]:
    """The next blocks of all clips, each [B, K, C]; seeds 0 to 15."""
    call = Call(text=[PROMPTS[task]] * CLIPS, task=task, steps=steps, grid=grid, duration=None if task is Task.SPEECH else SECONDS)
    plan = make_plan(system.model, system.sampler, call, text_style=system.text_style, trained_seconds=system.trained_seconds)
    found = sample_blocks(system.model, **{**plan.sampling, "history": history})
    return [block.latents.float() for block in itertools.islice(found, count)]


def errors(system: AudioCALM, task: Task) -> dict[str, dict[int, float]]:
    """Grid and number of steps -> relative squared error, a mean over blocks at three places."""
    fine = blocks(system, task, steps=REFERENCE_STEPS, grid="uniform", count=max(BLOCKS) + 1)
    variance = torch.cat(fine, dim=1).var()
    histories = {place: torch.cat(fine[:place], dim=1) if place else None for place in BLOCKS}
    return {
        grid: {
            steps: torch.stack([
                (blocks(system, task, steps=steps, grid=grid, history=history)[0] - fine[place]).square().mean() / variance
                for place, history in histories.items()
            ]).mean().item()
            for steps in STEPS
        }
        for grid in GRIDS
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="JSON file")
    options, console = parser.parse_args(), Console()
    torch.set_num_threads(1)
    found: dict[str, dict[str, dict[str, dict[int, float]]]] = {}
    for name in MODELS:
        system = AudioCALM.from_pretrained(name, device="cpu")
        found[name] = {}
        for task in Task:
            found[name][str(task)] = errors(system, task)
            for grid, row in found[name][str(task)].items():
                console.print(f"{name} {task} {grid}: " + ", ".join(f"{steps}: {error:.4f}" for steps, error in row.items()))
    write_bytes(options.out, (json.dumps({"relative_squared_error": found, **machine_record(("torch",))}, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
