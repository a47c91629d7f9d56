"""`calm average`: the mean of stretches of one training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calm.cli.errors import console
from calm.errors import InputError

__all__ = ["average"]


def average(
    models: Annotated[
        list[str], typer.Argument(metavar="RUN_OR_NAME...", help="Finished runs, exported models or shipped ones; two or more.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="New folder for the mean, in float32.")],
    weights: Annotated[
        str | None, typer.Option(metavar="1,2,...", help="What each counts for, in this order; by default the same.")
    ] = None,
) -> None:
    """Average models of one configuration, tensor by tensor: often better than each, if all come from one start.

    Settings are those of the first. The output is a model like every other: generate with it, or `calm export` it.

    Example: calm average runs/first runs/second --weights 2,1 -o models/mean
    """
    from calm.model.average import average as mean_of
    from calm.model.checkpoint import save_pretrained
    from calm.model.export import new_folder

    with new_folder(output) as folder:
        model, config = mean_of(models, weights=_numbers(weights))
        save_pretrained(folder, model=model, config=config)
    console().print(f"{output}: the mean of {len(models)} models")


def _numbers(text: str | None) -> list[float] | None:
    try:
        return [float(word) for word in text.split(",")] if text is not None else None
    except ValueError:
        raise InputError(f"'{text}' is no list of numbers", where="--weights", allowed="for example 2,1") from None
