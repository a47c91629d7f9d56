"""Readings as a table: in the terminal, and between two marks of docs/SPEED.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table

from benchmarks.ratios.readings import Reading
from calm.audio import write_bytes

__all__ = ["COLUMNS", "cells", "markdown", "rich_table", "write_into"]

COLUMNS = ("row", "what", "ours", "against", "ratio", "goal", "reached", "limit")
BEGIN, END = "<!-- ratios: written by python -m benchmarks.ratios --page -->", "<!-- ratios: end -->"


def cells(reading: Reading) -> list[str]:
    """The cells of one reading. "reached" is the share of the goal, and says where even the bar is missed."""
    goal, spread = reading.goal, f"{number(reading.ratio)} ({number(reading.low)} to {number(reading.high)})"
    if goal is None:
        return [reading.row, reading.what, reading.ours, reading.peer, spread, "", "", ""]
    bar = "" if goal.bar is None else f" (bar {number(goal.bar)})"
    return [reading.row, reading.what, reading.ours, reading.peer, spread, f"{goal.sense} {number(goal.value)}{bar}", reached(reading), goal.limit]


def reached(reading: Reading) -> str:
    goal, ratio = reading.goal, reading.ratio
    if ratio == goal.value or (ratio < goal.value) == (goal.sense == "<="):
        return "yes"
    missing = f"{100 * goal.share(ratio):.0f} %"
    if goal.bar is None:
        return missing
    return f"{missing}, bar {'reached' if goal.reaches_bar(ratio) else 'missed'}"


def number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def rich_table(readings: Iterable[Reading]) -> Table:
    table = Table(*COLUMNS, title="Ratios: median (range)")
    for reading in readings:
        table.add_row(*cells(reading))
    return table


def markdown(readings: Iterable[Reading]) -> str:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(cells(reading)) + " |" for reading in readings]
    return "\n".join(lines) + "\n"


def write_into(page: Path, readings: Sequence[Reading]) -> None:
    """Replace the table of ``page``."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    write_bytes(page, f"{before}{BEGIN}\n\n{markdown(readings)}\n{END}{after}".encode())
