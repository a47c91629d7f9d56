"""Weights on disk: one folder with `model.safetensors` and `config.yaml`. No pickle, nothing half-written."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from calm.audio import write_bytes
from calm.config import load_config_file, save_config
from calm.errors import CheckpointError

if TYPE_CHECKING:
    from calm.config import RunConfig

__all__ = ["WEIGHTS", "load_config_of", "load_into", "save_pretrained"]

WEIGHTS, CONFIG = "model.safetensors", "config.yaml"
#: folder of an export with the files that a pretrained backbone needs besides its weights
BACKBONE = "backbone"
#: keys that say where a part's first weights came from; they mean nothing once weights are loaded
ORIGIN_KEYS = ("path", "weights")
#: parts that only training needs
_TRAINING_ONLY = ("adversary.",)


def save_pretrained(
    folder: str | Path,
    *,
    model: nn.Module,
    config: RunConfig,
    state: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write weights and configuration that ``AudioCALM.from_pretrained`` and ``vae_ckpt_path`` read.

    Args:
        state: replaces entries of ``model.state_dict()``, for example EMA weights.
        dtype: store floating-point weights in this type; as they are by default.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {**model.state_dict(), **(state or {})}
    tensors = {
        name: _stored(tensor, dtype) for name, tensor in tensors.items() if not name.startswith(_TRAINING_ONLY)
    }
    partial = folder / f".{WEIGHTS}.partial"
    try:
        save_file(tensors, partial, metadata={"format": "audiocalm", "model": config.model.name})
        os.replace(partial, folder / WEIGHTS)
    finally:
        partial.unlink(missing_ok=True)
    for asset in getattr(getattr(model, "backbone", None), "assets", ()):
        write_bytes(folder / BACKBONE / asset.name, asset.read_bytes())
    save_config(_complete_in_itself(config), folder / CONFIG)
    return folder


def _complete_in_itself(config: RunConfig) -> RunConfig:
    """The configuration of an export: it must not ask for the files that its weights first came from."""
    parts = {
        group: dataclasses.replace(part, weights="random")
        for group in ("vae", "backbone")
        if hasattr(part := getattr(config, group), "weights")
    }
    return dataclasses.replace(config, vae_ckpt_path=None, pretrained_ckpt_path=None, ckpt_path=None, **parts)


def load_config_of(folder: str | Path) -> RunConfig:
    """Read the configuration of an exported folder."""
    config = load_config_file(_existing(Path(folder), CONFIG), imports="refuse")
    if (Path(folder) / BACKBONE).is_dir():
        config = dataclasses.replace(config, backbone=dataclasses.replace(config.backbone, path=str(Path(folder) / BACKBONE)))
    return config


def load_into(module: nn.Module, folder: str | Path, *, prefix: str = "") -> None:
    """Load exported weights into a module; names that start with ``prefix`` are used, without it.

    Raises CheckpointError where tensors are missing, left over, or of another shape: the checkpoint
    then belongs to another configuration.
    """
    path = _existing(Path(folder), WEIGHTS)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"The weights cannot be read ({error})", where=path, hint="copy or export them again") from None
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    expected = {n: t for n, t in module.state_dict().items() if not n.startswith(_TRAINING_ONLY)}
    problems = _differences(expected, tensors)
    if problems:
        raise CheckpointError(
            f"The checkpoint belongs to another configuration: {len(problems)} differences, first: {problems[0]}",
            where=path,
            hint=f"compare {path.parent / CONFIG} with `calm train ... --show`",
        )
    module.load_state_dict(tensors, strict=False)


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    missing = [f"'{name}' is missing" for name in expected if name not in found]
    extra = [f"'{name}' has no place in this model" for name in found if name not in expected]
    shapes = [
        f"'{name}' is {tuple(found[name].shape)}, not {tuple(expected[name].shape)}"
        for name in expected
        if name in found and found[name].shape != expected[name].shape
    ]
    return shapes + missing + extra


def _stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    tensor = tensor.detach().to("cpu", copy=True).contiguous()
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def _existing(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise CheckpointError(
            f"No {name} in the checkpoint folder",
            where=folder,
            allowed=f"a folder with {WEIGHTS} and {CONFIG}, as `calm train` exports it to runs/NAME/export",
        )
    return path
