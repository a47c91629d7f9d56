"""Torch, its devices, and the clock of this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch

import calm
from calm.data.index import index_path
from calm.doctor.case import Case
from calm.doctor.finding import Finding, Level
from calm.training.precision import has_fast_bfloat16

__all__ = ["check_clock", "check_torch"]

#: a file may be this much younger than the clock says (seconds): file servers have clocks of their own
CLOCK_SLACK = 120.0


def check_torch(case: Case) -> Iterator[Finding]:
    """The devices, precision and attention that the configuration asks for exist here."""
    trainer, count = case.config.trainer, torch.cuda.device_count()
    names = ", ".join(sorted({torch.cuda.get_device_name(i) for i in range(count)}))
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    here = f"torch {torch.__version__} ({build}), {count} CUDA devices{f': {names}' if names else ''}"
    yield Finding(level=Level.OK, what=f"Trains on {'the CPU' if case.on_cpu else 'CUDA'}", where="torch", value=here)
    if trainer.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        hint = "run it where there is a CUDA device, install a CUDA build of torch, or set trainer.accelerator=cpu"
        yield Finding(
            level=Level.ERROR, what="There is no CUDA device here", where="trainer.accelerator", value=here, hint=hint
        )
    elif not case.on_cpu and case.ranks_per_node > count:
        yield Finding(
            level=Level.ERROR,
            what=f"{case.ranks_per_node} devices are asked for, {count} are here",
            where="trainer.devices",
            hint=f"set trainer.devices={count}",
        )
    if trainer.precision.startswith("bf16") and not has_fast_bfloat16(case.device):
        what = "This device does not multiply in bfloat16: steps take many times as long as in float32"
        hint = "set trainer.precision=auto, or 32-true"
        yield Finding(level=Level.WARNING, what=what, where="trainer.precision", value=trainer.precision, hint=hint)
    if case.on_cpu and getattr(case.config.model, "attention", "auto") == "flex":
        hint = "set model.attention=auto"
        yield Finding(level=Level.ERROR, what="FlexAttention trains on CUDA only", where="model.attention", hint=hint)


def check_clock(case: Case) -> Iterator[Finding]:
    """The clock is not behind files that already exist: checkpoints would seem older than what they come from."""
    files = [Path(calm.__file__)]
    if case.train is not None:
        files += [index_path(path) for path in case.train.paths]
    newest = max(files, key=lambda path: path.stat().st_mtime)
    ahead, now = newest.stat().st_mtime - time.time(), time.strftime("%Y-%m-%d %H:%M:%S %Z")
    behind = ahead > CLOCK_SLACK
    yield Finding(
        level=Level.WARNING if behind else Level.OK,
        what=f"The clock is {ahead:.0f} s behind a file that exists" if behind else "The clock is not behind the files",
        where=str(newest) if behind else "clock",
        value=now,
        hint="set the clock (NTP), also on the file server" if behind else "",
    )
