"""`run_ablation`: all runs, one after the other, then the report. Finished runs are kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rich.console import Console

from calm.ablation.held_out import HeldOut
from calm.ablation.plan import AblationPlan
from calm.ablation.report import write_report
from calm.ablation.results import RunResult, write_json
from calm.ablation.train import check_shards, check_vae, finished, seconds_per_step, train_and_judge
from calm.config import RunConfig
from calm.errors import CalmError, DataError, InputError
from calm.pages.sections import duration
from calm.text.description import STYLES
from calm.types import TASKS

__all__ = ["run_ablation"]

STATE_FILE = "ablation.json"
#: share of the given minutes that goes into training steps; the rest is start-up and judging
TRAINING_SHARE = 0.85
#: cost of one step of all variants of one style and seed, in steps of a mixed run: three mixed, three of a third
STEPS_PER_ROUND = 3 + len(TASKS) / 3


def run_ablation(
    plan: AblationPlan, *, minutes: float | None = None, console: Console | None = None, progress: bool = True
) -> Path:
    """Train and judge every run of ``plan``, write the report, and return the path of its page.

    Run again after an interruption: finished runs are kept, a training goes on at its last checkpoint.

    Args:
        minutes: about how long all of it may take; the number of steps follows from a short trial and is kept.
        console: where progress is shown; standard error by default.
        progress: whether each training draws its progress line.
    Raises ConfigError where the configuration allows no fair comparison, InputError where ``plan.out`` holds an
    ablation of other settings, CheckpointError for a VAE without statistics.
    """
    console = console or Console(stderr=True, highlight=False)
    base = plan.base()
    check_vae(base)
    check_shards(base)
    held_out = HeldOut(base.data.validation, clips=plan.clips, num_bins=base.trainer.num_noise_bins)
    plan = _settle(plan, minutes=minutes, base=base, console=console)
    runs, results = plan.runs(), {}
    spent: list[float] = []
    try:
        for number, run in enumerate(runs, start=1):
            result = finished(plan, run)
            left = f", about {duration(sum(spent) / len(spent) * (len(runs) - number + 1))} left" if spent else ""
            kept = " (done before)" if result else left
            console.print(f"[bold]{number}/{len(runs)} {run.variant.title}, {run.style} text, seed {run.seed}[/bold]{kept}")
            result = result or train_and_judge(plan, run, held_out, progress=progress)
            spent.append(result.seconds)
            console.print("    held out: " + _readings(result))
            results[run.variant.name, run.style, run.seed] = result
    except (KeyboardInterrupt, CalmError):
        console.print("Stopped. Finished runs are kept: run the same command again to continue.")
        raise
    return write_report(plan, results, console=console)


def _settle(plan: AblationPlan, *, minutes: float | None, base: RunConfig, console: Console) -> AblationPlan:
    """Return ``plan`` with its number of steps, which stays as it was where the folder holds an ablation already."""
    path = plan.out / STATE_FILE
    kept = _read_state(path, plan)
    steps = plan.steps or kept
    if steps is None and minutes is not None:
        console.print("Timing a step of the costliest variant")
        total = 60 * minutes * TRAINING_SHARE
        window = base.data.source.get("bucket_steps", 1)
        affordable = total / (seconds_per_step(plan) * STEPS_PER_ROUND * len(STYLES) * plan.num_seeds)
        steps = max(1, int(affordable / window)) * window
    steps = steps or base.trainer.max_steps
    if kept is not None and steps != kept:
        hint = "leave --steps out, or give another --out"
        raise InputError(f"The folder holds an ablation of {kept} steps, not {steps}", where=path, hint=hint)
    write_json(path, {**plan.settings(), "steps": steps})
    console.print(f"{len(plan.runs())} runs of {steps:,} steps")
    return dataclasses.replace(plan, steps=steps)


def _read_state(path: Path, plan: AblationPlan) -> int | None:
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        steps = int(values.pop("steps"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"The state of the ablation cannot be read ({error})", where=path, hint="give another --out") from error
    changed = [key for key, value in plan.settings().items() if values.get(key) != value]
    if changed:
        what = f"The folder holds an ablation of other settings: {', '.join(changed)}"
        raise InputError(what, where=path, hint="give another --out, or the settings of before")
    return steps


def _readings(result: RunResult) -> str:
    sums = {task: (sum(map(sum, found.error)), sum(map(sum, found.frames))) for task, found in result.errors.items()}
    return "  ".join(f"{task} {error / frames:.4f}" for task, (error, frames) in sums.items())
