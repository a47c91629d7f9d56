"""Weights on disk: one folder with `model.safetensors` and `config.yaml`. No pickle, nothing half-written."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from calm.audio import write_bytes
from calm.config import load_config_file, save_config
from calm.errors import CheckpointError
from calm.model.format import FORMAT_KEY, FORMAT_VERSION, check_format
from calm.model.lora import merged_state
from calm.model.lora_config import LoRAConfig
from calm.model.shipped import find_model, shared_folder

if TYPE_CHECKING:
    from calm.config import RunConfig

__all__ = ["WEIGHTS", "load_config_of", "load_into", "save_pretrained", "without_weights"]

WEIGHTS, CONFIG = "model.safetensors", "config.yaml"
#: folder of an export with the files that a pretrained backbone needs besides its weights
BACKBONE = "backbone"
#: keys that say where a part's first weights came from; they mean nothing once weights are loaded
ORIGIN_KEYS = ("path", "weights")
#: parts that only training needs
_TRAINING_ONLY = ("adversary.",)
#: header entry of weights without a VAE: sha256 of the weights file that has it
_VAE_HASH = "vae_sha256"
#: header entry of weights that differ from those of another model in some tensors only: sha256 of that model's file
_BASE_HASH = "base_sha256"
#: a matrix that 16 bits would change by more than this share stays as it is (bfloat16 rounds by at most 2^-9)
_LARGEST_ROUNDING = 2.0**-8


def save_pretrained(
    folder: str | Path,
    *,
    model: nn.Module,
    config: RunConfig,
    state: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
    shared_vae: str | None = None,
    base: str | None = None,
) -> Path:
    """Write weights and configuration that ``AudioCALM.from_pretrained`` and ``vae_ckpt_path`` read. LoRA is merged.

    Args:
        state: replaces entries of ``model.state_dict()``, for example EMA weights.
        dtype: store matrices in this type where it keeps their values; vectors (norms, biases, statistics) stay
            as they are, and so does everything by default.
        shared_vae: name of the exported model, beside ``folder`` or shipped, that has the VAE; it is left out here.
        base: name of the exported model, found in the same way, whose tensors are left out where they are equal.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "audiocalm", FORMAT_KEY: str(FORMAT_VERSION), "model": config.model.name}
    left_out = _TRAINING_ONLY
    config = _complete_in_itself(config)
    if shared_vae is not None:
        metadata[_VAE_HASH] = _file_hash(_existing(shared_folder(folder, shared_vae), WEIGHTS))
        config, left_out = dataclasses.replace(config, vae_ckpt_path=Path(shared_vae)), (*left_out, "vae.")
    tensors = merged_state(model, {**model.state_dict(), **(state or {})})
    tensors = {name: _stored(tensor, dtype) for name, tensor in tensors.items() if not name.startswith(left_out)}
    if base is not None:
        known = _existing(shared_folder(folder, base), WEIGHTS)
        metadata[_BASE_HASH] = _file_hash(known)
        config = dataclasses.replace(config, pretrained_ckpt_path=Path(base))
        tensors = _without_equals(tensors, _read_whole(known))
    partial = folder / f".{WEIGHTS}.partial"
    try:
        save_file(tensors, partial, metadata=metadata)
        # Some versions of safetensors write files that only their owner may read; the folder knows what is wanted.
        partial.chmod(stat.S_IMODE(folder.stat().st_mode) & 0o666)
        os.replace(partial, folder / WEIGHTS)
    finally:
        partial.unlink(missing_ok=True)
    for asset in getattr(getattr(model, "backbone", None), "assets", ()):
        write_bytes(folder / BACKBONE / asset.name, asset.read_bytes())
    save_config(config, folder / CONFIG)
    return folder


def without_weights(config: RunConfig) -> RunConfig:
    """Return the configuration without weights from anywhere, and an objective that may need them: sizes alone."""
    parts = {
        group: dataclasses.replace(part, weights="random")
        for group in ("vae", "backbone")
        if hasattr(part := getattr(config, group), "weights")
    }
    return dataclasses.replace(config, vae_ckpt_path=None, pretrained_ckpt_path=None, objective=None, **parts)


def _complete_in_itself(config: RunConfig) -> RunConfig:
    """The configuration of an export: it must not ask for the files that its weights first came from."""
    # A model is called the same everywhere, whatever the environment says there.
    kept = {key: value for key, value in config.interpolations.items() if key != "name"}
    return dataclasses.replace(without_weights(config), ckpt_path=None, lora=LoRAConfig(), interpolations=kept)


def load_config_of(folder: str | Path) -> RunConfig:
    """Read the configuration of an exported model, by folder or shipped name; it names no weights of other folders.

    Raises CheckpointError where it asks for files from elsewhere: an export comes with all that it needs.
    """
    folder = find_model(folder)
    config = load_config_file(_existing(folder, CONFIG), imports="refuse")
    if (folder / BACKBONE).is_dir():
        config = dataclasses.replace(config, backbone=dataclasses.replace(config.backbone, path=str(folder / BACKBONE)))
    elif path := getattr(config.backbone, "path", None):
        raise _elsewhere("backbone.path", path, folder)
    for group in ("vae", "backbone"):
        if (weights := getattr(getattr(config, group), "weights", "random")) != "random":
            raise _elsewhere(f"{group}.weights", weights, folder)
    return dataclasses.replace(config, vae_ckpt_path=None, pretrained_ckpt_path=None)


def _elsewhere(key: str, value: str, folder: Path) -> CheckpointError:
    return CheckpointError(
        f"The model's configuration asks for files from elsewhere: {key} is '{value}'",
        where=folder / CONFIG,
        allowed="an export as `calm export` writes it, with all of its weights",
        hint="export the model again",
    )


def load_into(module: nn.Module, folder: str | Path, *, prefix: str = "", may_lack: tuple[str, ...] = ()) -> None:
    """Load exported weights into a module; names that start with ``prefix`` are used, without it.

    Args:
        folder: of an exported model, or the name of a shipped one. Weights that it shares are read too.
        may_lack: names that begin so keep their value in ``module`` where the folder lacks them.

    Raises CheckpointError where tensors are missing, left over, or of another shape: the checkpoint
    then belongs to another configuration.
    """
    path = _existing(find_model(folder), WEIGHTS)
    tensors = _read_whole(path)
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    expected = {n: t for n, t in module.state_dict().items() if not n.startswith(_TRAINING_ONLY)}
    expected = {n: t for n, t in expected.items() if n in tensors or not n.startswith(may_lack)}
    problems = _differences(expected, tensors)
    if problems:
        raise CheckpointError(
            f"The checkpoint belongs to another configuration: {len(problems)} differences, first: {problems[0]}",
            where=path,
            hint=f"compare {path.parent / CONFIG} with `calm train ... --show`",
        )
    module.load_state_dict(tensors, strict=False)


def _read_whole(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file, with those that it shares: of a VAE, or of the model that it was trained from."""
    tensors, metadata = _read(path)
    if _BASE_HASH in metadata:
        # Its own hash is in no file that it could name: bases form no circle.
        tensors = {**_read_whole(_shared(path, "pretrained_ckpt_path", metadata[_BASE_HASH], what="base")), **tensors}
    if _VAE_HASH in metadata:
        vae = _read(_shared(path, "vae_ckpt_path", metadata[_VAE_HASH], what="VAE"))[0]
        tensors |= {name: tensor for name, tensor in vae.items() if name.startswith("vae.")}
    return tensors


def _shared(path: Path, key: str, expected: str, *, what: str) -> Path:
    """The weights file of the model that the configuration beside ``path`` names, if it is the very file."""
    name = getattr(load_config_file(_existing(path.parent, CONFIG), imports="refuse"), key)
    if name is None:
        raise CheckpointError(f"These weights have no {what}, and the configuration names none", where=path)
    found = _existing(shared_folder(path.parent, name, key=key), WEIGHTS)
    if _file_hash(found) != expected:
        # Others of the same shapes would give noise, without any other sign that something is wrong.
        raise CheckpointError(
            f"The {what} is not the one that this model was exported with", where=found, hint="export the model again"
        )
    return found


def _without_equals(tensors: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name not in known or tensor.dtype != known[name].dtype or not torch.equal(tensor, known[name])
    }


def _read(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            check_format(metadata.get(FORMAT_KEY), where=path)
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"The weights cannot be read ({error})", where=path, hint="copy or export them again") from None


def _file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    if dtype is None or not tensor.is_floating_point() or tensor.ndim < 2:
        return tensor
    rounded = tensor.to(dtype)
    # Written so that what overflows (inf, nan) does not pass either.
    return rounded if (rounded - tensor).norm() <= _LARGEST_ROUNDING * tensor.norm() else tensor


def _existing(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise CheckpointError(
            f"No {name} in the checkpoint folder",
            where=folder,
            allowed=f"a folder with {WEIGHTS} and {CONFIG}, as `calm train` exports it to runs/NAME/export",
        )
    return path
