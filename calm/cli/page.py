"""`calm demo` and `calm page`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calm.cli.errors import console
from calm.errors import InputError

__all__ = ["demo", "page"]


def demo(
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder of the demo.")] = Path("runs/demo"),
    minutes: Annotated[
        float | None, typer.Option(min=1, help="About how long all of it may take; default as configured.")
    ] = None,
) -> None:
    """Corpus, VAE, generator, prompts and a page to look at and listen to, in minutes on a CPU."""
    from calm.demo import run_demo

    console().print(f"Open {run_demo(out, minutes=minutes)} in a browser.")


def page(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a run, for example runs/demo.")],
) -> None:
    """Write the page of a run again."""
    if not run_dir.is_dir():
        raise InputError("There is no such run folder", where=run_dir, hint="`calm train` and `make demo` write runs/")
    from calm.pages import render_run

    console().print(f"Open {render_run(run_dir)} in a browser.")
