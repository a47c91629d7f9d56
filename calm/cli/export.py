"""`calm export` and `calm models`: from a run to a small model folder, and the models that come with the project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calm.cli.errors import console

__all__ = ["export", "models"]


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a finished run, or of an exported model.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder; its name is the model's name.")],
    dtype: Annotated[str, typer.Option(help="Of matrices: float16, bfloat16 or float32.")] = "float16",
    shared_vae: Annotated[
        str | None, typer.Option(metavar="NAME", help="Leave the VAE out: it is that of this model, beside OUT or shipped.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="NAME", help="Leave out what equals this model, beside OUT or shipped.")
    ] = None,
) -> None:
    """Write a run's model in 16 bits, with a model card, and check that it still computes the same.

    Example: calm export runs/mini models/mini --shared-vae mini-vae
    """
    from calm.audio import write_bytes
    from calm.model.export import export as write_export
    from calm.model.export import new_folder
    from calm.model.shipped import find_model
    from calm.pages.card import model_card

    source = find_model(run)
    with new_folder(out) as folder:
        result = write_export(source, folder, name=out.resolve().name, dtype=dtype, shared_vae=shared_vae, base=base)
        run_dir = source.parent if source.name == "export" else source
        write_bytes(folder / "README.md", model_card(result, run_dir=run_dir).encode())
    console().print(f"{out}: {result.num_bytes / 1e6:.1f} MB in {dtype}")
    for each in result.deviations:
        console().print(
            f"  {each.output}: largest error {each.largest:.2g} at RMS {each.scale:.2g} ({each.relative:.2%} relative)"
        )


def models() -> None:
    """List the models that come with the project; `calm generate --model NAME` takes them."""
    from calm.model.shipped import shipped_models

    shipped = shipped_models()
    if not shipped:
        console().print("no model is in this copy; `make demo` trains one")
    for name, folder in shipped.items():
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        lines = (folder / "README.md").read_text(encoding="utf-8").splitlines() if (folder / "README.md").is_file() else []
        about = next((line for line in lines if line and not line.startswith(("#", "|"))), "")
        console().print(f"{name}  {size / 1e6:.1f} MB  {about}".rstrip())
