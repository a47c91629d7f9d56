"""`calm report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calm.cli.errors import console
from calm.errors import InputError

__all__ = ["report"]


def report(
    results: Annotated[
        list[Path] | None, typer.Argument(metavar="[RESULTS.json]...", help="Result files, or folders that hold one.")
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="Add the figures of the paper's tables.")] = False,
    out: Annotated[Path, typer.Option("-o", "--out", "--output", help="Folder of the page.")] = Path("site"),
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "AudioCALM, judged",
    ours: Annotated[str | None, typer.Option(help="System that stands first on the cards; by default a model's.")] = None,
    cards: Annotated[int, typer.Option(min=0, help="Most prompts to listen to, for each benchmark.")] = 6,
) -> None:
    """Make a page of result files: tables with the best in bold, and cards to listen to. Any static host serves it.

    Example: calm report runs/evaluate/results.json --published -o site
    """
    if not results and not published:
        raise InputError("Give result files, or --published", where="calm report", hint="`calm evaluate` writes results.json")
    from calm.report import LoadedResults, load_results, write_site

    loaded = [load_results(path) for path in results or []]
    if published:
        from calm.baselines.published import published_results

        loaded = [*(LoadedResults(results=each, folder=Path()) for each in published_results()), *loaded]
    console().print(f"Open {write_site(loaded, out, title=title, ours=ours, cards=cards)} in a browser.")
