"""`calm listen`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calm.cli.errors import console
from calm.errors import InputError

if TYPE_CHECKING:
    from calm.listening import ListeningTest, Settings

__all__ = ["listen"]

#: name of the system that the originals are, the same as in `calm evaluate`
ORIGINALS = "original"


def listen(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[MANIFEST]", help="What is to be heard; with --summary, the result file to write."),
    ] = None,
    system: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FOLDER", help="A system and its folder of ID.wav; repeat it.")
    ] = None,
    originals: Annotated[bool, typer.Option("--originals", help="The manifest's originals are a system too.")] = False,
    out: Annotated[Path, typer.Option("-o", "--out", "--output", help="Folder of the test and its ratings.")] = Path(
        "runs/listen"
    ),
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is open to the network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    items: Annotated[int, typer.Option(min=1, help="Clips that a listener rates.")] = 20,
    checks: Annotated[int, typer.Option(min=0, help="Attention checks of a listener.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of the listeners' orders.")] = 0,
    summary: Annotated[bool, typer.Option("--summary", help="Show what was rated so far, and serve nothing.")] = False,
) -> None:
    """A blind listening test in the browser: MOS for speech, MOS-Q and MOS-T for sound and music.

    Without a manifest the test in the folder goes on. Every rating is stored at once; Ctrl-C ends the server.

    Example: calm listen bench/manifest.jsonl --system ours=clips/ours --originals -o runs/listen

    Example: calm listen -o runs/listen --summary runs/listen/results.json
    """
    from calm.listening import ListeningTest, Settings

    if summary:
        _summarise(out, file)
        return
    if file is None and (system or originals):
        raise InputError("Systems need a manifest", where="calm listen", hint="calm listen MANIFEST --system NAME=FOLDER")
    if file is None:
        test = ListeningTest.read(out)
    else:
        settings = Settings(items_per_listener=items, num_checks=checks, seed=seed)
        test = _prepare(file, system or [], originals, out, settings)
    _serve(test, host, port)


def _prepare(file: Path, system: list[str], originals: bool, out: Path, settings: Settings) -> ListeningTest:
    from calm.evaluation.manifest import read_manifest
    from calm.listening import prepare

    systems: dict[str, Path | None] = {}
    for word in system:
        name, equals, folder = word.partition("=")
        if not (name and equals and folder) or name in systems or (originals and name == ORIGINALS):
            raise InputError(f"--system {word} is no NAME=FOLDER with a name of its own", where="command line")
        systems[name] = Path(folder)
    if originals:
        systems[ORIGINALS] = None
    if not systems:
        raise InputError("There is nothing to hear", where="command line", hint="--system NAME=FOLDER, or --originals")
    test = prepare(read_manifest(file), systems=systems, folder=out, settings=settings)
    for name, record in test.systems.items():
        skipped = {key: len(value) for key, value in record["skipped"].items() if value}
        left_out = "".join(f", {number} {key}" for key, number in skipped.items())
        console().print(f"{name}: {record['num_clips']} clips{left_out}")
    return test


def _serve(test: ListeningTest, host: str, port: int) -> None:
    from calm.listening import serve

    def tell(url: str) -> None:
        console().print(f"Open {url} in a browser. Ctrl-C ends the server; ratings are in {test.database}")

    serve(test, host=host, port=port, on_ready=tell)
    console().print("Stopped. Go on with: calm listen -o", str(test.folder))


def _summarise(folder: Path, file: Path | None) -> None:
    from calm.evaluation.results import write_results
    from calm.listening import summarise

    results = summarise(folder, beside=None if file is None else file.parent)
    _show(results)
    if file is not None:
        console().print(f"Written: {write_results(results, file)}")


def _show(results: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    about = results["metrics"]["listening"]
    columns = results["columns"]
    table = Table("system", "task", *(c["label"] for c in columns.values()), "ratings", box=box.SIMPLE_HEAD)
    for name, system in results["systems"].items():
        for task, figures in system["figures"].items():
            cells = [Text(_figure(figures.get(key))) for key in columns]
            table.add_row(Text(name), task, *cells, str(about["counts"][name][task]["ratings"]))
    Console(highlight=False).print(table)
    why = ", ".join(f"{number} {reason}" for reason, number in about["excluded_by"].items())
    console().print(
        f"{about['listeners']} listeners ({about['unfinished_listeners']} not finished), "
        f"{about['excluded_listeners']} excluded by attention checks{f' ({why})' if why else ''}"
    )


def _figure(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return ""
    interval = "" if figure["low"] is None else f" [{figure['low']:.2f}, {figure['high']:.2f}]"
    return f"{figure['value']:.2f}{interval}"
