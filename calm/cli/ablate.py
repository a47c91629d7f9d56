"""`calm ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calm.cli.errors import console
from calm.errors import InputError

__all__ = ["ablate"]


def ablate(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value words, as `calm train` takes them, for all runs.")
    ] = None,
    experiment: Annotated[str, typer.Option(help="What all runs share: an option of conf/experiment.")] = "ablate",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of every variant.")] = 2,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps of every run.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=1, help="About how long all of it may take, instead of --steps.")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help="Most held-out clips of each task.")] = 100,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the runs and the report.")] = Path("runs/ablate"),
    show: Annotated[bool, typer.Option("--show", help="List the runs and stop.")] = False,
) -> None:
    """Does mixing the tasks hurt, and does A-MoME repair it? Trains small runs and writes one report.

    Example: calm ablate --steps 600 --seeds 2. Run it again after Ctrl-C: it goes on.
    """
    if steps is not None and minutes is not None:
        raise InputError("--steps and --minutes exclude each other", where="--minutes", hint="drop one")
    from calm.ablation.plan import AblationPlan

    plan = AblationPlan(
        out=out, experiment=experiment, overrides=tuple(overrides or ()), num_seeds=seeds, steps=steps, clips=clips
    )
    if show:
        plan.base()
        for run in plan.runs():
            config = plan.config(run)
            size = f"{config.trainer.max_steps} steps of {config.data.batch_size} clips"
            console().print(f"{run.name:<30} {run.variant.title}, {run.style} text, {size}")
        return
    from calm.ablation.run import run_ablation

    console().print(f"Open {run_ablation(plan, minutes=minutes)} in a browser.")
