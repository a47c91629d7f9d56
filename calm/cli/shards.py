"""`calm shards pack`, `check`, `annotate` and `encode`."""

from __future__ import annotations

import enum
import os
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


#: of the clips that were left out, as many are shown
SHOWN_PROBLEMS = 10


class OnError(enum.StrEnum):
    """What a file that cannot be used does to the rest."""

    STOP = "stop"
    SKIP = "skip"


@app.command()
def pack(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="AudioFolder, jsonl or CSV manifest, or a public set.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the shards.")],
    task: Annotated[Task | None, typer.Option(help="Task of samples whose manifest names none.")] = None,
    on_error: Annotated[OnError, typer.Option(help="At a bad sample: stop, or skip it and list it.")] = OnError.STOP,
    layout: Annotated[str | None, typer.Option(metavar="NAME", help="How SRC lies, where it is not recognised.")] = None,
) -> None:
    """Write KEY.flac + KEY.json shards with an index beside each.

    Read as they are published: LibriTTS(-R), LibriSpeech, LJSpeech, AudioCaps, Clotho, Song Describer, MusicCaps.
    """
    from calm.data.pack import pack as pack_shards

    started = time.perf_counter()
    with _progress("packing") as progress:
        report = pack_shards(source, out, task=task, on_error=str(on_error), layout=layout, progress=progress)
    taken = time.perf_counter() - started
    out_line = console()
    for problem in report.problems[:SHOWN_PROBLEMS]:
        out_line.print(f"left out: {problem.where}: {problem.reason}", style="yellow")
    if report.problems:
        out_line.print(f"{len(report.problems)} clips left out, all in {out / 'problems.jsonl'}", style="yellow")
    if report.clipped:
        out_line.print(f"{len(report.clipped)} clips reach full scale and may be clipped, e.g. {report.clipped[0]}")
    amounts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.seconds.items())
    how = "" if report.layout == "manifest" else f" of {report.layout}"
    out_line.print(f"{out}: {report.clips} clips{how} ({amounts}) in {len(report.shards)} shards, {taken:.1f} s")
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


@app.command()
def annotate(
    shards: Annotated[str, typer.Argument(metavar="SHARDS", help="Audio shards: a folder, a shard or a glob.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the shards; finished ones are kept.")],
    rewrite_url: Annotated[str | None, typer.Option(metavar="URL", help="OpenAI-compatible endpoint, .../v1.")] = None,
    rewrite_model: Annotated[str, typer.Option(metavar="NAME", help="Model of the endpoint.")] = "",
    rewrite_timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 60.0,
    rewrite_parallel: Annotated[int, typer.Option(min=1, help="Questions asked at once.")] = 4,
) -> None:
    """Measure pitch, rate, noise, reverberation and loudness, for descriptions; what is known is never overwritten.

    With --rewrite-url captions and voices also get another wording. A key is read from OPENAI_API_KEY.
    Run it again after an interruption: finished shards are kept, and nothing is asked twice.
    """
    from calm.data.annotate import annotate_shards
    from calm.data.rewrite import Endpoint
    from calm.errors import InputError

    if rewrite_model and rewrite_url is None:
        raise InputError("A model needs an endpoint", where="--rewrite-model", hint="add --rewrite-url")
    endpoint = None
    if rewrite_url is not None:
        endpoint = Endpoint(
            url=rewrite_url,
            model=rewrite_model,
            key=os.environ.get("OPENAI_API_KEY"),
            timeout_seconds=rewrite_timeout,
            num_parallel=rewrite_parallel,
        )
    started = time.perf_counter()
    with _progress("annotating") as progress:
        report = annotate_shards(shards, out, endpoint=endpoint, progress=progress)
    taken = time.perf_counter() - started
    out_line = console()
    kept = f", {len(report.kept)} kept from before" if report.kept else ""
    out_line.print(f"{out}: {report.clips} clips in {len(report.written)} shards{kept}, {taken:.1f} s")
    for name, count in sorted(report.added.items()):
        out_line.print(f"  {name:<18}{count:>8} clips")
    if endpoint is not None:
        out_line.print(f"  {report.rewritten} reworded, {len(report.failures)} failed ({report.failure_rate:.1%})")
        for failure in report.failures[:SHOWN_PROBLEMS]:
            out_line.print(f"  {failure.shard}: {failure.key}: {failure.reason}", style="yellow")


@app.command()
def encode(
    shards: Annotated[str, typer.Argument(metavar="SHARDS", help="Audio shards: a folder, a shard or a glob.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the latent shards; finished ones are kept.")],
    vae: Annotated[Path, typer.Option(metavar="DIR", help="Exported VAE: runs/NAME/export.")],
    device: Annotated[str, typer.Option(help="cpu, mps, cuda or cuda:N.")] = "cpu",
    batch_seconds: Annotated[float, typer.Option(help="Audio to encode at once.")] = 60.0,
    num_threads: Annotated[int | None, typer.Option(min=1, help="Threads of the CPU.")] = None,
) -> None:
    """Encode audio shards with a trained VAE, so that training a generator neither decodes nor encodes audio.

    Run it again after an interruption: finished shards are kept. Under torchrun every process takes its share.
    """
    import torch

    from calm.training.latents import encode_with

    if num_threads is not None:
        torch.set_num_threads(num_threads)
    started = time.perf_counter()
    with _progress("encoding") as progress:
        report = encode_with(vae, shards, out, device=device, batch_seconds=batch_seconds, progress=progress)
    taken = time.perf_counter() - started
    out_line = console()
    kept = f", {len(report.kept)} kept from before" if report.kept else ""
    out_line.print(
        f"{out}: {report.clips} clips ({report.seconds:.1f} s) in {len(report.written)} shards{kept}, {taken:.1f} s"
    )
    out_line.print(f"Next: calm train ... data.train={out} vae_ckpt_path={vae}")


def _summary(report: Any) -> Table:
    table = Table("", "", box=None, show_header=False)
    table.add_row("shards", str(report.shards))
    table.add_row("clips", str(report.clips))
    for task, hours in report.hours.items():
        table.add_row(f"hours of {task}", f"{hours:.4f} ({report.clips_by_task[task]} clips)")
    table.add_row("sample rates", ", ".join(f"{rate} Hz: {count}" for rate, count in report.sample_rates.items()))
    table.add_row("channels", ", ".join(f"{number}: {count}" for number, count in report.channels.items()))
    table.add_row("speakers", str(len(report.speakers)))
    for vae in report.vaes:
        table.add_row("latents of VAE", vae)
    return table


@contextmanager
def _progress(verb: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on the error stream while the shell is a terminal, nothing in a log."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task(verb, total=None)
        yield lambda done, total, name: bar.update(row, completed=done, total=total)
