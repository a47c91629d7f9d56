"""From a run's configuration to a built root. Sizes travel from built part to next part, in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calm.errors import ConfigError
from calm.model.checkpoint import load_into
from calm.model.generator import Generator
from calm.part import Part
from calm.registry import build, lookup
from calm.vae import VAE

if TYPE_CHECKING:
    from calm.config import RunConfig

__all__ = ["build_model"]


def build_model(config: RunConfig) -> Part:
    """Build the root named by ``config.model`` with its parts, and load the weights that the config names.

    ``vae_ckpt_path`` fills the VAE alone, ``pretrained_ckpt_path`` the whole root.
    """
    root_class = lookup("model", config.model.name)
    vae = _require(build("vae", config.vae), "vae", root=config.model.name)
    if config.vae_ckpt_path:
        load_into(vae, config.vae_ckpt_path, prefix="vae.")
    if issubclass(root_class, Generator):
        root = _build_generator(root_class, config, vae)
    else:
        adversary = build("adversary", config.adversary, channels=vae.channels)
        root = root_class(config.model, vae=vae, adversary=adversary)
    if config.pretrained_ckpt_path:
        load_into(root, config.pretrained_ckpt_path)
    return root


def _build_generator(root_class: type[Generator], config: RunConfig, vae: VAE) -> Generator:
    backbone = _require(build("backbone", config.backbone), "backbone", root=config.model.name)
    sizes = {"dim": backbone.dim}
    return root_class(
        config.model,
        vae=vae,
        backbone=backbone,
        head=_require(build("head", config.head, latent_dim=vae.latent_dim, **sizes), "head", root=config.model.name),
        expert=build("expert", config.expert, ffn_dim=backbone.ffn_dim, num_layers=backbone.num_layers, **sizes),
    )


def _require(part, kind: str, *, root: str):
    if part is None:
        raise ConfigError(
            f"Model '{root}' needs a {kind}", where=f"{kind}: none", hint=f"choose one: {kind}=NAME; `calm components {kind}`"
        )
    return part
