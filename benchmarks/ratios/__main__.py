"""All ratios of speed in one table.

    chrt -r 1 python -m benchmarks.ratios [--only P1,P7] [--rounds 5] [--plot] [--page]

Every row takes turns with what it is compared with, on one intra-op thread; median and range over rounds. A run is kept
in benchmarks/results/ratios.json. A peer that is not installed skips its row: ``pip install -e ".[bench]"``.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import nullcontext

# Read when torch and the peers start their threads.
os.environ["OMP_NUM_THREADS"] = "1"

import torch
from rich.console import Console

from benchmarks.ratios import history, table
from benchmarks.ratios.plot import plot
from benchmarks.ratios.readings import ROWS, MissingPeer, Reading
from calm.cli.profile import profiled

FAMILIES = ("streaming", "passes", "training", "long_form", "decoders", "loading", "process", "company", "few_steps")
PICTURE, PAGE = history.ROOT / "docs" / "ratios.png", history.ROOT / "docs" / "SPEED.md"


def measure(name: str, *, rounds: int, console: Console) -> Iterator[Reading]:
    """The readings of one row; peers that are missing are a line each."""
    started = time.monotonic()
    try:
        for found in ROWS[name](rounds):
            if isinstance(found, MissingPeer):
                console.print(f"{name}: left out, {found}")
            else:
                yield found
    except MissingPeer as error:
        console.print(f"{name}: left out, {error}")
    console.print(f"{name}: {time.monotonic() - started:.0f} s")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ratios", description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="rows, comma-separated; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="name the dearest operations of each row, keep nothing")
    parser.add_argument("--dry", action="store_true", help="keep nothing")
    parser.add_argument("--plot", action="store_true", help="draw docs/ratios.png of all runs that are kept")
    parser.add_argument("--page", action="store_true", help="write the newest figures into docs/SPEED.md")
    return parser.parse_args()


def main() -> None:
    options, console = arguments(), Console(width=180, highlight=False)
    for family in FAMILIES:
        importlib.import_module(f"benchmarks.ratios.{family}")
    names = sorted(ROWS, key=lambda name: int(name.removeprefix("P")))
    if options.only is not None:
        asked = options.only.split(",")
        unknown = [name for name in asked if name not in ROWS]
        if unknown:
            raise SystemExit(f"--only {','.join(unknown)}: no such row; there are {', '.join(names)}")
        names = [name for name in names if name in asked]
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    readings = []
    for name in names:
        with profiled() if options.profile else nullcontext():
            readings += measure(name, rounds=options.rounds, console=console)
    console.print(table.rich_table(readings))
    if readings and not (options.dry or options.profile):
        history.save(history.record(readings))
    if options.plot:
        plot(history.load(), PICTURE)
    if options.page:
        table.write_into(PAGE, history.latest(history.load()))


if __name__ == "__main__":
    main()
