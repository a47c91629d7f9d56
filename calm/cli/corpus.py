"""`calm corpus`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from calm.cli.errors import console
from calm.errors import InputError

__all__ = ["corpus"]


def corpus(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write (AudioFolder layout).")],
    seconds: Annotated[float, typer.Option(help="Audio to write over all tasks.")] = 600.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
    num_workers: Annotated[int, typer.Option(min=1, help="Processes; the bytes are the same.")] = 1,
    sample_rate: Annotated[int, typer.Option(min=8000, max=96000, help="Hz.")] = 16000,
    task_shares: Annotated[
        str, typer.Option(metavar="SHARES", help="Of the seconds, for example sound=1.", show_default=False)
    ] = "",
    scene_shares: Annotated[
        str,
        typer.Option(metavar="SHARES", help="Of the sounds, for example single=1,sequence=2,overlap=2.", show_default=False),
    ] = "",
    music_seconds: Annotated[
        str, typer.Option(metavar="SHORTEST,LONGEST", help="Of a piece, for example 2,4.", show_default=False)
    ] = "",
) -> None:
    """Write a mixed corpus of speech, sounds and music; nothing is downloaded."""
    from calm.corpus import generate_corpus

    given: dict[str, Any] = {
        name: _shares(f"--{name.replace('_', '-')}", text)
        for name, text in (("task_shares", task_shares), ("scene_shares", scene_shares))
        if text
    }
    if music_seconds:
        given["music_seconds"] = _range("--music-seconds", music_seconds)
    started = time.perf_counter()
    made = generate_corpus(out, seconds=seconds, seed=seed, sample_rate=sample_rate, num_workers=num_workers, **given)
    taken = time.perf_counter() - started
    for share in made.shares:
        console().print(f"{share.split:<12} {share.task:<7} {share.clips:>5} clips {share.seconds:>9.1f} s")
    speed = made.seconds / taken
    console().print(f"{out}: {made.seconds:.1f} s of audio in {taken:.1f} s ({speed:.0f} times faster than playing)")
    console().print(f"Next: calm shards pack {out} SHARDS")


def _shares(option: str, text: str) -> dict[str, float]:
    """``sound=1,music=2`` as a mapping; the names are checked where they are used."""
    try:
        return {name.strip(): float(share) for name, share in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise InputError(f"'{text}' is no list of shares", where=option, allowed="NAME=NUMBER,NAME=NUMBER") from None


def _range(option: str, text: str) -> tuple[float, float]:
    """``2,4`` as a pair; whether the lengths are accepted is checked where they are used."""
    try:
        shortest, longest = map(float, text.split(","))
    except ValueError:
        raise InputError(f"'{text}' is no range of seconds", where=option, allowed="SHORTEST,LONGEST") from None
    return shortest, longest
