"""Which model it was, for records of origin: hashes of an exported model's files. Loads no torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from calm.errors import CheckpointError
from calm.model.shipped import find_model

__all__ = ["Identity", "identify"]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """SHA-256 of the weights file and of the configuration file.

    Weights without a VAE carry the hash of the file that has it, so that this one hash stands for both.
    """

    model_sha256: str
    config_sha256: str


def identify(name_or_folder: str | Path) -> Identity:
    """Hash the files of an exported model, by folder or shipped name. Raises CheckpointError where one is missing."""
    folder = find_model(name_or_folder)
    return Identity(model_sha256=_hash(folder / "model.safetensors"), config_sha256=_hash(folder / "config.yaml"))


def _hash(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read ({error.strerror})", where=path.parent) from error
