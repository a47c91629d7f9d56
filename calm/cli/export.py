"""`calm export` and `calm models`: from a run to a small model folder, and the models that come with the project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calm.cli.errors import console
from calm.errors import InputError

__all__ = ["export", "models"]

COMMAND = "calm export"


def export(
    run: Annotated[
        str, typer.Argument(metavar="RUN_OR_NAME", help="Folder of a finished run or of an exported model, or a shipped model.")
    ],
    out: Annotated[Path | None, typer.Argument(metavar="OUT", help="The same as --output.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="New folder, whose name is the model's; or a .pt2 or .onnx file.")
    ] = None,
    form: Annotated[
        str, typer.Option(help="safetensors: the model, a folder. torch, onnx: its VAE's decoder, a file and a .json.")
    ] = "safetensors",
    dtype: Annotated[
        str | None, typer.Option(help="Of a folder's matrices: float16 (the default), bfloat16 or float32.")
    ] = None,
    shared_vae: Annotated[
        str | None, typer.Option(metavar="NAME", help="Leave the VAE out: it is that of this model, beside OUT or shipped.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="NAME", help="Leave out what equals this model, beside OUT or shipped.")
    ] = None,
) -> None:
    """Write a run's model in 16 bits, with a model card, or its decoder for another runtime; both are checked.

    Examples: calm export runs/mini -o models/mini --shared-vae mini_vae

    calm export mini -o mini_decoder.onnx --form onnx
    """
    if (out is None) == (output is None):
        raise InputError("Give one of OUT and --output", where=COMMAND, hint="calm export runs/mine -o models/mine")
    target = out or output
    if form == "safetensors":
        _folder(run, target, dtype=dtype or "float16", shared_vae=shared_vae, base=base)
        return
    if dtype or shared_vae or base:
        raise InputError("A decoder is float32 and whole", where="--dtype, --shared-vae, --base", hint="leave them out")
    _decoder(run, target, form=form)


def _folder(run: str, out: Path, *, dtype: str, shared_vae: str | None, base: str | None) -> None:
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


def _decoder(run: str, out: Path, *, form: str) -> None:
    from calm.model.decoder_file import FORMS, export_decoder
    from calm.model.shipped import find_model

    if form not in FORMS:
        raise InputError(f"'{form}' is no form", where="--form", allowed=("safetensors", *FORMS))
    done = export_decoder(find_model(run), out, form=form)
    console().print(f"{done.path}: {done.num_bytes / 1e6:.1f} MB; shapes and hashes: {done.record_path}")
    console().print(f"  audio of random latents: largest error {done.largest_error:.2g}")


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
