"""`calm shards pack` and `calm shards check`."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from calm.cli.errors import INPUT_ERROR, console
from calm.types import Task

__all__ = ["app"]

app = typer.Typer(
    help="Turn audio folders and manifests into WebDataset shards, and verify them.", no_args_is_help=True
)


class OnError(enum.StrEnum):
    """What a file that cannot be used does to the rest."""

    STOP = "stop"
    SKIP = "skip"


@app.command()
def pack(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="AudioFolder, jsonl or CSV manifest.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the shards.")],
    task: Annotated[Task | None, typer.Option(help="Task of samples whose manifest names none.")] = None,
    on_error: Annotated[OnError, typer.Option(help="At a bad sample: stop, or skip it and list it.")] = OnError.STOP,
) -> None:
    """Write KEY.flac + KEY.json shards with an index beside each."""
    from calm.data.pack import pack as pack_shards

    started = time.perf_counter()
    with _progress("packing") as progress:
        report = pack_shards(source, out, task=task, on_error=str(on_error), progress=progress)
    taken = time.perf_counter() - started
    out_line = console()
    for problem in report.problems:
        out_line.print(f"left out: {problem.where}: {problem.reason}", style="yellow")
    if report.clipped:
        out_line.print(f"{len(report.clipped)} clips reach full scale and may be clipped, e.g. {report.clipped[0]}")
    amounts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.seconds.items())
    out_line.print(f"{out}: {report.clips} clips ({amounts}) in {len(report.shards)} shards, {taken:.1f} s")
    out_line.print(f"Next: calm shards check {out}")


@app.command()
def check(out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of shards, or one shard.")]) -> None:
    """Verify shards; print hours per task, sample rates, speakers, and every problem with file and key."""
    from calm.data.check import check as check_shards

    with _progress("checking") as progress:
        report = check_shards(out, progress=progress)
    out_line = console()
    out_line.print(_summary(report))
    for problem in report.problems:
        out_line.print(f"{problem.shard}: {problem.key or '-'}: {problem.reason}", style="red")
    if not report.ok:
        out_line.print(f"{len(report.problems)} problems", style="red")
        raise typer.Exit(INPUT_ERROR)
    out_line.print("no problems")


def _summary(report: Any) -> Table:
    table = Table("", "", box=None, show_header=False)
    table.add_row("shards", str(report.shards))
    table.add_row("clips", str(report.clips))
    for task, hours in report.hours.items():
        table.add_row(f"hours of {task}", f"{hours:.4f} ({report.clips_by_task[task]} clips)")
    table.add_row("sample rates", ", ".join(f"{rate} Hz: {count}" for rate, count in report.sample_rates.items()))
    table.add_row("channels", ", ".join(f"{number}: {count}" for number, count in report.channels.items()))
    table.add_row("speakers", str(len(report.speakers)))
    return table


@contextmanager
def _progress(verb: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on the error stream while the shell is a terminal, nothing in a log."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task(verb, total=None)
        yield lambda done, total, name: bar.update(row, completed=done, total=total)
