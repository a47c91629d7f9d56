"""Where a trained VAE and shards meet: audio shards are encoded, and latent batches give the statistics."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from calm.data.encode import EncodeReport, LatentEncoder, Progress, encode_shards
from calm.data.latents import LatentFormat
from calm.errors import InputError
from calm.model.trained_vae import load_vae, vae_hash
from calm.types import Batch
from calm.vae import VAE
from calm.vae.statistics import measure_statistics

__all__ = ["encode_with", "latent_encoder", "measure"]


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
    encoder = latent_encoder(load_vae(vae), device=_usable(name))
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


@torch.no_grad()
def measure(vae: VAE, batches: Iterable[Batch]) -> list[int]:
    """Measure latent statistics over batches of audio or of latents, as ``measure_statistics`` does for audio.

    Frames of padding do not count. Returns the channels whose spread was floored.
    """
    batches = iter(batches)
    ahead = list(itertools.islice(batches, 1))
    if not ahead or ahead[0].latents is None:
        return measure_statistics(vae, itertools.chain(ahead, batches))
    sums = torch.zeros(2, vae.latent_dim, dtype=torch.float64)
    count = 0
    for batch in itertools.chain(ahead, batches):
        frames = -(-batch.num_samples // vae.hop)
        kept = batch.latents[torch.arange(batch.latents.shape[1]) < frames[:, None]].double()  # [frames, C]
        sums += torch.stack([kept.sum(dim=0), kept.square().sum(dim=0)])
        count += len(kept)
    return vae.set_statistics(*sums, count)


def _usable(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        what = f"Device '{name}' cannot be used ({reason})"
        raise InputError(what, where="device", allowed="cpu, mps, cuda, cuda:N") from None
    return device
