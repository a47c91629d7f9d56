"""`calm doctor`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from calm.cli.errors import console

__all__ = ["doctor"]

FOUND_ERRORS = 1
STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


def doctor(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="The words of `calm train`: experiment=demo, data.train=..., ...")
    ] = None,
    gpus: Annotated[int, typer.Option("--gpus", help="GPUs that memory and days are told for.")] = 8,
    peak_tflops: Annotated[
        float, typer.Option("--peak-tflops", help="Peak of one GPU: 989 H100 in bfloat16, 312 A100 or A800.")
    ] = 989.0,
    mfu: Annotated[float, typer.Option("--mfu", help="Share of the peak that training reaches: an assumption.")] = 0.3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Tell what would go wrong in a run before it starts: data, VAE, memory, time, disk, versions; and how large it is.

    Reads only; takes less than a minute on a CPU. Exit code 1 where something will stop or spoil the run.

    Example: calm doctor experiment=demo data.train=data_shards/mine
    Example: calm doctor experiment=audiocalm_1p7b --gpus 64 --peak-tflops 312 --mfu 0.4
    """
    from calm.config import load_config
    from calm.doctor import Hardware, examine

    hardware = Hardware(num_gpus=gpus, peak_tflops=peak_tflops, mfu=mfu)
    report = examine(load_config(overrides or []), hardware=hardware)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        _show(report)
    if not report.ok:
        raise typer.Exit(FOUND_ERRORS)


def _show(report: Any) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "check", "finding", "where", "value", box=box.SIMPLE_HEAD, title=f"doctor: {report.name}")
    for finding in report.findings:
        what = Text(finding.what)
        if finding.hint:
            what.append(f"\nnext: {finding.hint}", style="italic")
        level = Text(str(finding.level), style=STYLES[str(finding.level)])
        table.add_row(level, Text(finding.check), what, Text(finding.where), Text(finding.value))
    Console(highlight=False).print(table)
    if report.size is not None:
        _show_size(report.size)
    counts = ", ".join(f"{len(report.of(level))} {level}" for level in ("error", "warning", "ok"))
    console().print(f"{counts}: {'ready to train' if report.ok else 'not ready: see the errors'}")


def _show_size(size: Any) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from calm.doctor.hardware import time_of

    table = Table("size", "", box=box.SIMPLE_HEAD, title=f"size: {size.name}")
    for part in size.parts:
        table.add_row(part.part, f"{part.parameters / 1e6:,.2f} M {'trained' if part.is_trained else 'frozen'}")
    table.add_row("all", f"{size.total / 1e6:,.2f} M, {size.trained / 1e6:,.2f} M of them trained", end_section=True)
    for engine in size.memory:
        again = "" if engine.recompute == "none" else ", layers computed again"
        table.add_row(f"memory of a rank, {engine.strategy}{again}", f"{engine.gib:,.1f} GiB on {size.hardware.num_gpus} GPUs")
    table.add_row("work of a step", f"{size.step_flops:.3g} FLOPs, forward and backward")
    table.add_row(f"{size.max_steps:,} steps", f"{size.total_flops:.3g} FLOPs, {time_of(size.days)} on {size.hardware}")
    Console(highlight=False).print(table)
