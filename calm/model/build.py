"""From a run's configuration to a built root. Sizes travel from built part to next part, in Python."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from calm.errors import CheckpointError, ConfigError
from calm.model.checkpoint import ORIGIN_KEYS, load_config_of, load_into
from calm.model.generator import Generator
from calm.model.lora import adapt
from calm.part import Part
from calm.registry import build, lookup
from calm.vae import VAE

if TYPE_CHECKING:
    from calm.config import RunConfig

__all__ = ["NoInitialization", "build_model", "build_outline", "check_same", "load_pretrained"]


def build_model(config: RunConfig) -> Part:
    """Build the root named by ``config.model`` with its parts, and load the weights that the config names.

    ``vae_ckpt_path`` fills the VAE alone, ``pretrained_ckpt_path`` the whole root; then the objective takes what it
    needs of these weights, and ``lora`` is put into the root.
    """
    return _filled(_assembled(config, _build_vae(config)), config)


def build_outline(config: RunConfig) -> Part:
    """Build the root with its VAE as it is, and all other parts as shapes on the meta device: no memory, no values.

    What it checks is what `build_model` checks: weights that the config names are opened and their shapes compared.
    Nothing is downloaded for the backbone. For counting, before a run of any size.
    """
    vae = _build_vae(config)
    with torch.device("meta"), NoInitialization():
        root = _assembled(config, vae)
    return _filled(root, config)


def _build_vae(config: RunConfig) -> VAE:
    vae = _require(build("vae", config.vae), "vae", root=config.model.name)
    if config.vae_ckpt_path:
        check_same("vae", config, config.vae_ckpt_path)
        load_into(vae, config.vae_ckpt_path, prefix="vae.")
    return vae


def _assembled(config: RunConfig, vae: VAE) -> Part:
    root_class = lookup("model", config.model.name)
    if issubclass(root_class, Generator):
        return _build_generator(root_class, config, vae)
    return root_class(config.model, vae=vae, adversary=build("adversary", config.adversary, channels=vae.channels))


def _filled(root: Part, config: RunConfig) -> Part:
    if config.pretrained_ckpt_path:
        for group in ("vae", "backbone"):
            check_same(group, config, config.pretrained_ckpt_path)
        load_into(root, config.pretrained_ckpt_path, may_lack=_grown(root))
    if isinstance(root, Generator):
        root.objective.begin(root, trained=bool(config.pretrained_ckpt_path))
    return adapt(root, config.lora, seed=config.seed)


def load_pretrained(folder: str | Path) -> tuple[Part, RunConfig]:
    """Build the root of an exported model, by folder or shipped name, with its weights in float32."""
    config = load_config_of(folder)
    with NoInitialization():
        root = build_model(config)
    load_into(root, folder)
    return root, config


class NoInitialization(TorchFunctionMode):
    """Leaves out random initial weights that nothing will look at: loaded ones replace them all, or shapes suffice."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == torch.nn.init.__name__:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _build_generator(root_class: type[Generator], config: RunConfig, vae: VAE) -> Generator:
    backbone = _require(build("backbone", config.backbone), "backbone", root=config.model.name)
    sizes = {"dim": backbone.dim}
    return root_class(
        config.model,
        vae=vae,
        backbone=backbone,
        head=_require(build("head", config.head, latent_dim=vae.latent_dim, **sizes), "head", root=config.model.name),
        expert=build("expert", config.expert, ffn_dim=backbone.ffn_dim, num_layers=backbone.num_layers, **sizes),
        objective=build("objective", config.objective),
    )


def _grown(root: Part) -> tuple[str, ...]:
    """Beginnings of names that first weights may lack: what a head has grown, and what is without effect at first."""
    return ("timing.", *(f"head.{name}." for name in root.head.grown)) if isinstance(root, Generator) else ()


def check_same(group: str, config: RunConfig, folder: str | Path) -> None:
    """Raise CheckpointError unless a part is configured as in the checkpoint: equal shapes do not make equal parts.

    A sample rate, a look-ahead or a rotary base leaves no trace in the shapes of the weights.
    """
    saved, given = getattr(load_config_of(folder), group), getattr(config, group)
    if type(saved) is not type(given):
        differing = [f"{group}: {getattr(saved, 'name', 'none')} there, {getattr(given, 'name', 'none')} here"]
    else:
        differing = [
            f"{group}.{field.name}: {getattr(saved, field.name)} there, {getattr(given, field.name)} here"
            for field in dataclasses.fields(given or ())
            if field.name not in ORIGIN_KEYS and getattr(saved, field.name) != getattr(given, field.name)
        ]
    if differing:
        raise CheckpointError(
            "The checkpoint belongs to another configuration: " + "; ".join(differing),
            where=folder,
            hint=f"choose the same {group} as the checkpoint, or another checkpoint",
        )


def _require(part, kind: str, *, root: str):
    if part is None:
        raise ConfigError(
            f"Model '{root}' needs a {kind}", where=f"{kind}: none", hint=f"choose one: {kind}=NAME; `calm components {kind}`"
        )
    return part
