"""The `calm` command. A verb reads its options, calls one function and prints what came of it.

Heavy modules are imported inside the verbs, so that `calm --help` answers at once.
"""

from __future__ import annotations

import os

import typer

from calm.cli import (
    ablate,
    average,
    calibrate,
    components,
    consent,
    corpus,
    detect,
    doctor,
    evaluate,
    export,
    generate,
    launch,
    listen,
    page,
    report,
    serve,
    shards,
    train,
)
from calm.cli.errors import ErrorGroup

__all__ = ["app", "main"]

app = typer.Typer(
    name="calm",
    cls=ErrorGroup,
    help="AudioCALM: one causal model that speaks, makes sounds and makes music.",
    no_args_is_help=True,
    add_completion=False,
    # An unexpected error is a defect of ours: its plain traceback belongs into the report.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(train.train)
app.command()(doctor.doctor)
app.command()(launch.launch)
app.command()(generate.generate)
app.command()(detect.detect)
app.command()(serve.serve)
app.command()(calibrate.calibrate)
app.command()(average.average)
app.command()(export.export)
app.command()(export.models)
app.command()(evaluate.evaluate)
app.command()(report.report)
app.command()(ablate.ablate)
app.command()(listen.listen)
app.command()(page.demo)
app.command()(page.page)
app.command()(corpus.corpus)
app.add_typer(shards.app, name="shards")
app.add_typer(consent.app, name="consent")
app.command()(components.components)


def main() -> None:
    """Entry point of the console script."""
    # Large tensors in pages of 2 MB (Linux): torch reads this at its first allocation. Saves a tenth of a training.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # How long threads spin that wait for each other (GNU OpenMP): 30 times less than by default, else one busy neighbour
    # makes a clip take 25 times as long (docs/DECISIONS.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    app(prog_name="calm")
