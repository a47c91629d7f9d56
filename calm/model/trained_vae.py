"""A trained VAE by itself: loaded from an export, and the hash by which latents know the VAE that made them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import torch

from calm.errors import CheckpointError
from calm.model.checkpoint import ORIGIN_KEYS, load_config_of, load_into
from calm.registry import build
from calm.vae import VAE

__all__ = ["load_vae", "vae_hash"]

#: tensors that do not change what a clip is encoded to: latents are stored before normalisation
_OUTSIDE_THE_ENCODER = ("decoder.", "latent_mean", "latent_std", "statistics_frames")
#: words in the names of settings that do not reach the encoder
_OTHER_WORDS = ("decoder", "output", "look_ahead", "std_floor")


def load_vae(folder: str | Path) -> VAE:
    """Load the VAE of an exported run (``model.safetensors`` and ``config.yaml``), frozen and in eval mode.

    Raises CheckpointError where the folder holds no such VAE.
    """
    vae = build("vae", load_config_of(folder).vae)
    if vae is None:
        raise CheckpointError("The checkpoint has no VAE", where=folder, hint="give the export of a VAE or a generator")
    load_into(vae, folder, prefix="vae.")
    return vae.eval().requires_grad_(False)


def vae_hash(vae: VAE) -> str:
    """Return the sha256 of all that decides what a clip is encoded to: encoder tensors and settings.

    The decoder may still be trained after the encoder is frozen, and latent statistics may be measured anew:
    neither changes the hash.
    """
    digest = hashlib.sha256(json.dumps(_settings(vae), sort_keys=True).encode())
    for name, tensor in sorted(vae.state_dict().items()):
        if not name.startswith(_OUTSIDE_THE_ENCODER):
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _settings(vae: VAE) -> dict[str, object]:
    """Settings that shape the encoder. Some (dilations, a rate) leave no trace in the tensors."""
    sizes = {key: getattr(vae, key) for key in ("sample_rate", "channels", "hop", "latent_dim")}
    config = getattr(vae, "config", None)
    fields = dataclasses.fields(config) if dataclasses.is_dataclass(config) else ()
    own = {
        field.name: getattr(config, field.name)
        for field in fields
        if field.name not in ORIGIN_KEYS and not any(word in field.name for word in _OTHER_WORDS)
    }
    return {"class": type(vae).__name__, **sizes, **own}
