"""`run_demo`: the stages of the demo in order. Each is skipped where an earlier start has finished it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from calm.audio import write_bytes
from calm.demo.ledger import Ledger
from calm.demo.plan import DemoPlan
from calm.demo.report import build_page
from calm.demo.stages import Stages
from calm.errors import CalmError
from calm.pages import render_run
from calm.pages.load import PAGE_FILE
from calm.pages.sections import duration

__all__ = ["run_demo"]

STATE_FILE = "demo.json"

Work = Callable[[], Mapping[str, Any]]


def run_demo(
    out: Path = Path("runs/demo"),
    *,
    minutes: float | None = None,
    seconds_of_corpus: float = 2400.0,
    overfit_seconds: float = 75.0,
    overrides: Sequence[str] = (),
    console: Console | None = None,
) -> Path:
    """Corpus, shards, VAE, generator, three clips learned by heart, prompts, page; return the page's path.

    Run again after an interruption: finished stages are kept, a training continues at its last checkpoint.

    Args:
        out: the demo's folder; the VAE's run lies beside it.
        minutes: about how long all of it may take; by default the limits in ``conf/trainer/demo.yaml``.
        seconds_of_corpus: length of the synthetic corpus, at least 30.
        overfit_seconds: longest time for learning by heart.
        overrides: further words of `calm train`, for example ``trainer.max_steps=100``.
        console: where progress is shown; standard error by default.
    Raises InputError where ``out`` holds a demo of other settings.
    """
    console = console or Console(stderr=True, highlight=False)
    plan = DemoPlan(
        out=Path(out),
        minutes=minutes,
        seconds_of_corpus=seconds_of_corpus,
        overfit_seconds=overfit_seconds,
        overrides=tuple(overrides),
    )
    ledger = Ledger(plan.out / STATE_FILE, settings=plan.settings())
    stages = Stages(plan, console=console)
    steps: dict[str, tuple[str, Work]] = {
        "corpus": ("Corpus: speech, sounds and music from synthesis", stages.corpus),
        "shards": ("Shards: packed and checked", stages.shards),
        "vae": ("VAE: audio to 12.5 latents a second and back", stages.vae),
        "generator": ("Generator: one model for all tasks", stages.generator),
        "overfit": ("Proof: one clip of each task learned by heart", stages.overfit),
        "clips": ("Prompts: generated, timed, written", stages.clips),
    }
    try:
        for number, (name, (title, work)) in enumerate(steps.items(), start=1):
            kept = " (done before)" if ledger.done(name) else ""
            console.print(f"[bold]{number}/{len(steps)} {title}[/bold]{kept}")
            ledger.run(name, work)
    except (KeyboardInterrupt, CalmError):
        console.print("Stopped. Finished stages are kept: run the same command again to continue.")
        raise
    page = build_page(plan, ledger)
    text = json.dumps(dataclasses.asdict(page), indent=1)
    write_bytes(plan.out / PAGE_FILE, (text + "\n").encode("utf-8"))
    path = render_run(plan.out)
    console.print(_summary(ledger, steps, path))
    return path


def _summary(ledger: Ledger, steps: Mapping[str, tuple[str, Work]], path: Path) -> Table:
    table = Table("stage", "time", "result", title="AudioCALM demo", title_justify="left", caption_justify="left")
    for name in steps:
        table.add_row(name, duration(ledger.seconds(name)), ledger.stages[name]["found"]["note"])
    table.add_row("all", duration(sum(map(ledger.seconds, steps))), str(path))
    return table
