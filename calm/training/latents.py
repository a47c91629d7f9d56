"""Where a trained VAE and shards meet: audio shards are encoded."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from calm.data.encode import EncodeReport, LatentEncoder, Progress, encode_shards
from calm.data.latents import LatentFormat
from calm.errors import InputError
from calm.model.device import open_device
from calm.model.trained_vae import load_vae, vae_hash
from calm.vae import VAE

__all__ = ["encode_with", "latent_encoder"]


def encode_with(
    vae: str | Path,
    shards: str | Path,
    out: str | Path,
    *,
    device: str = "cpu",
    batch_seconds: float = 60.0,
    progress: Progress | None = None,
) -> EncodeReport:
    """Encode the audio shards ``shards`` with the VAE exported to the folder ``vae``; see ``encode_shards``.

    Under torchrun (RANK, WORLD_SIZE, LOCAL_RANK in the environment) every process encodes its share of the shards.
    """
    rank, world_size, local_rank = (
        int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    name = f"cuda:{local_rank}" if device == "cuda" else device
    encoder = latent_encoder(load_vae(vae), device=open_device(name, error=InputError, where="device", allowed="cpu, mps, cuda, cuda:N"))
    return encode_shards(
        shards, out, encoder=encoder, batch_seconds=batch_seconds, rank=rank, world_size=world_size, progress=progress
    )


def latent_encoder(vae: VAE, *, device: torch.device | str = "cpu") -> LatentEncoder:
    """Return ``vae`` as shards are encoded with it."""
    vae = vae.to(device).eval()

    @torch.inference_mode()
    def means(audio: Tensor) -> Tensor:
        return vae.encode(audio.to(device)).mean

    form = LatentFormat(vae=vae_hash(vae), sample_rate=vae.sample_rate, hop=vae.hop, dim=vae.latent_dim)
    return LatentEncoder(form=form, channels=vae.channels, means=means)
