"""`calm calibrate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from calm.cli.errors import console

__all__ = ["calibrate"]


def calibrate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder of a run or of an exported model.")],
    shards: Annotated[Path, typer.Option(metavar="DIR", help="Held-out shards with speech, audio or latents.")],
    batches: Annotated[int, typer.Option(min=1, help="Batches of 32 clips; a third of them is speech in mixed shards.")] = 8,
) -> None:
    """Choose the stop threshold at which generated speech is as long as held-out recordings of the same words.

    Example: calm calibrate runs/mini --shards runs/mini_shards/validation
    """
    from calm.generation.calibrate import calibrate_stop, generated_curves, store_stop_threshold
    from calm.model.build import load_pretrained
    from calm.model.shipped import find_model
    from calm.training.fit import build_data

    folder = find_model(model)
    root, config = load_pretrained(folder)
    settings = dataclasses.replace(
        config.data, train=str(shards), validation=str(shards), batch_size=32, num_workers=0, num_validation_batches=batches
    )
    data = build_data(dataclasses.replace(config, data=settings), root.eval())
    found = calibrate_stop(generated_curves(root, data.val_dataloader(), sampler=config.sampler))
    path = store_stop_threshold(folder, found.threshold)
    console().print(
        f"{path}: stop_threshold {found.threshold:g}; over {found.num_clips} clips the median length error is "
        f"{found.median_error:.1%}, its bias {found.median_bias:+.1%}"
    )
