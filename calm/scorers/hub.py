"""Weights of the field's scorers: from a folder, from the local cache of the hub, or downloaded; else one clear error."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from calm.errors import CheckpointError, ConfigError

__all__ = ["find_weights", "hash_of", "load_state"]


def find_weights(
    repo: str | None,
    *,
    files: Sequence[str],
    folder: str | Path | None = None,
    revision: str | None = None,
    hint: str | None = None,
) -> Path:
    """Return a folder that holds ``files``.

    Args:
        repo: repository of the hub, ``owner/name``; None for weights that were not published there.
        files: names that must be there; ``a|b`` accepts either, the first is preferred.
        folder: a local copy, used instead of the hub where it is given.
        revision: commit of the repository.
        hint: where the files are published, for weights that are not on the hub.
    Raises ConfigError that says which files to put where.
    """
    if folder is not None:
        folder = Path(folder)
        missing = [name for name in files if not any((folder / each).is_file() for each in name.split("|"))]
        if missing:
            lacking = _listed(missing)
            raise ConfigError(f"The folder lacks {lacking}", where=folder, hint=hint or f"copy {lacking} of {repo} into it")
        return folder
    if repo is None:
        raise ConfigError(
            "These weights are not part of the package, and not on the hub",
            allowed=f"the option `folder`: a folder with {_listed(files)}",
            hint=hint,
        )
    from huggingface_hub import snapshot_download

    patterns = [each for name in files for each in name.split("|")]
    options: dict[str, Any] = {"allow_patterns": patterns, "revision": revision}
    for is_local in (True, False):
        try:
            found = Path(snapshot_download(repo, local_files_only=is_local, **options))
            return find_weights(repo, files=files, folder=found)
        except Exception as error:  # the hub client raises errors of many kinds where there is no network
            reason = error
    raise ConfigError(
        f"The weights of {repo} are not here and could not be downloaded ({type(reason).__name__})",
        where=repo,
        allowed=f"a folder with {_listed(files)}",
        hint="copy them from a machine with a network, and give the folder as the metric's option `folder`",
    )


def _listed(files: Sequence[str]) -> str:
    return ", ".join(name.replace("|", " or ") for name in files)


def load_state(path: Path, *, strip: str = "") -> dict[str, Tensor]:
    """Read tensors by name from .safetensors, or from a torch file, weights-only; ``strip`` is a prefix taken off."""
    try:
        if path.suffix == ".safetensors":
            return {name.removeprefix(strip): value for name, value in load_file(path).items()}
        with torch.serialization.safe_globals(_numpy_arrays()):
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise errors of every kind
        raise CheckpointError(f"The weights cannot be read ({error})", where=path, hint="download them again") from error
    for key in ("state_dict", "model_state_dict", "model"):
        state = state[key] if isinstance(state, Mapping) and isinstance(state.get(key), Mapping) else state
    return {name.removeprefix(strip): value for name, value in state.items() if isinstance(value, Tensor)}


def _numpy_arrays() -> list[Any]:
    """What arrays and scalars of NumPy are made of in a file: published checkpoints keep the state of training too."""
    made = [(np.zeros(1).__reduce__()[0], "_reconstruct"), (np.float64(0).__reduce__()[0], "scalar")]
    packages = ("numpy.core.multiarray", "numpy._core.multiarray")  # NumPy 1 and 2
    kinds = [type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?"]
    return [*((function, f"{package}.{name}") for package in packages for function, name in made), np.ndarray, np.dtype, *kinds]


def hash_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal, for result files."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
