"""Where models lie: those that come with the project, by name, and folders of one's own. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from calm.errors import CheckpointError, did_you_mean

__all__ = ["DEFAULT_MODEL", "default_model", "find_model", "shared_folder", "shipped_models"]

#: the shipped model that is used where none is named
DEFAULT_MODEL = "mini"
#: one folder a model: model.safetensors, config.yaml, README.md (its card)
SHIPPED = Path(__file__).resolve().parents[1] / "models"


def shipped_models() -> dict[str, Path]:
    """Return the models that come with the project: name -> folder."""
    return {path.parent.name: path.parent for path in sorted(SHIPPED.glob("[!.]*/config.yaml"))}


def find_model(name_or_folder: str | Path) -> Path:
    """Return the folder of an exported model: a folder that exists, or else the shipped model of that name.

    The folder of a run stands for the ``export`` folder in it. Raises CheckpointError where neither is there.
    """
    folder, shipped = Path(name_or_folder).expanduser(), shipped_models()
    if (folder / "export").is_dir():
        return folder / "export"
    if unfinished := _unfinished(folder):
        raise unfinished
    if folder.is_dir():
        return folder
    if str(name_or_folder) in shipped:
        return shipped[str(name_or_folder)]
    raise _missing(str(name_or_folder), shipped)


def default_model() -> Path:
    """Return the folder of `mini`, whatever else is called so in the working directory."""
    shipped = shipped_models()
    if DEFAULT_MODEL not in shipped:
        raise _missing(DEFAULT_MODEL, shipped)
    return shipped[DEFAULT_MODEL]


def shared_folder(folder: str | Path, name: str | Path, *, key: str = "vae_ckpt_path") -> Path:
    """Return the folder of what several models share: beside the model's own folder, or shipped. ``key`` named it.

    Never the working directory, and nothing but a plain name: a model does not choose which files are read.
    """
    beside, shipped = Path(folder).resolve().parent / name, shipped_models()
    if Path(name).name != str(name):
        raise CheckpointError(f"'{name}' is no model's name", where=f"{folder}: {key}", allowed="a plain name")
    if beside.is_dir():
        return beside
    if str(name) in shipped:
        return shipped[str(name)]
    raise CheckpointError(
        f"The model's {'VAE' if key == 'vae_ckpt_path' else 'base'} '{name}' is not there",
        where=f"{folder}: {key}",
        allowed=f"a folder {beside}, or a shipped model ({_listed(shipped)})",
        hint=f"copy it there, or write it: calm export RUN {beside}",
    )


def _unfinished(folder: Path) -> CheckpointError | None:
    """What to say of ``runs/NAME`` and ``runs/NAME/export`` before the run has written a model; None for any other folder."""
    status = (folder.parent if folder.name == "export" else folder) / "status.json"
    if (folder / "model.safetensors").is_file() or not status.is_file():
        return None
    return CheckpointError(
        "The run is not finished, so it has no model yet",
        where=folder,
        hint=f"go on with it: the words of its `calm train`, and ckpt_path=last ({status} says how it stands)",
    )


def _missing(name: str, shipped: Mapping[str, Path]) -> CheckpointError:
    return CheckpointError(
        f"There is no model '{name}'. {did_you_mean(name, shipped) or ''}".strip(),
        allowed=f"a shipped model ({_listed(shipped)}), a folder with model.safetensors and config.yaml, "
        "or the folder of a finished run",
        hint="`make demo` trains one in minutes: runs/demo",
    )


def _listed(shipped: Mapping[str, Path]) -> str:
    return ", ".join(shipped) or "this copy has none"
