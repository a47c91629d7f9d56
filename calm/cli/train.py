"""`calm train`."""

from __future__ import annotations

from typing import Annotated

import typer

from calm.cli.errors import console

__all__ = ["train"]


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="key=value words: experiment=demo, backbone=qwen3, backbone.num_layers=4, ckpt_path=last."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the configuration with each key's origin and the curriculum's timeline, and stop.")
    ] = False,
) -> None:
    """Train a VAE or a generator, as the configuration says.

    Example: calm train experiment=demo backbone.num_layers=4
    """
    from calm.config import load_config, timeline
    from calm.config import show as show_config

    config = load_config(overrides or [])
    if show:
        console().print(show_config(config), timeline(config), sep="", end="")
        return
    from calm.training.fit import fit

    result = fit(config)
    console().print(f"{config.name}: finished in {result.run_dir}")
