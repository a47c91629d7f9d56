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
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Tell what would go wrong in a run before it starts: data, VAE, memory, time, disk, versions.

    Reads only; takes less than a minute on a CPU. Exit code 1 where something will stop or spoil the run.

    Example: calm doctor experiment=demo data.train=data_shards/mine
    """
    from calm.config import load_config
    from calm.doctor import examine

    report = examine(load_config(overrides or []))
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
    counts = ", ".join(f"{len(report.of(level))} {level}" for level in ("error", "warning", "ok"))
    console().print(f"{counts}: {'ready to train' if report.ok else 'not ready: see the errors'}")
