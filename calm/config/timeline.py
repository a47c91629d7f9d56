"""The curriculum as a small table of text: what is trained when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from calm.config.schema import RunConfig

__all__ = ["timeline"]

#: characters of the whole run's bar
BAR = 24


def timeline(config: RunConfig) -> str:
    """Phases as a table in lines of comment, so that YAML with the table behind it is still that YAML.

    Columns: phase, its steps (first to last), its stretch of the run, the shares of the tasks in percent, the expert,
    learning-rate factors (the optimizer's and the phase's multiplied), the longest clips. A phase that
    ``trainer.max_steps`` never reaches has no stretch.
    """
    total, first, rows = config.trainer.max_steps, 0, []
    for phase in config.curriculum.phases:
        last = total if phase.until_step is None else min(phase.until_step, total)
        rows.append(_row(phase, config, first=first, last=last, total=total))
        first = max(first, last)
    header = ("phase", "steps", "of the run", "tasks in %", "expert", "lr factors", "longest clip")
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "".join(f"# {line}\n" for line in ("curriculum:", *lines))


def _row(phase: Any, config: RunConfig, *, first: int, last: int, total: int) -> tuple[str, ...]:
    reached = first < last
    start = min(BAR - 1, round(BAR * first / total))
    end = max(start + 1, round(BAR * last / total)) if reached else start
    bar = "." * start + "=" * (end - start) + "." * (BAR - end)
    whole = sum(phase.task_weights.values())
    shares = {task: f"{100 * weight / whole:.3g}" for task, weight in phase.task_weights.items() if weight}
    names = (*config.optim.lr_factors, *(name for name in phase.lr_factors if name not in config.optim.lr_factors))
    factors = {name: f"{config.optim.lr_factors.get(name, 1.0) * phase.lr_factors.get(name, 1.0):g}" for name in names}
    limits = {task: f"{seconds:g} s" for task, seconds in phase.max_clip_seconds.items()}
    return (
        phase.name,
        f"{first:,} to {last - 1:,}" if reached else "not reached",
        bar,
        _pairs(shares),
        "none" if config.expert is None else phase.expert,
        _pairs(factors) or "all 1",
        _pairs(limits) or "any",
    )


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
