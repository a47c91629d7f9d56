"""Latent statistics: mean and spread of every channel over a corpus, measured once after the VAE is trained."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from calm.errors import InputError
from calm.types import Batch
from calm.vae.base import VAE

__all__ = ["measure_statistics"]


@torch.no_grad()
def measure_statistics(vae: VAE, batches: Iterable[Batch]) -> list[int]:
    """Measure posterior means over the valid frames of ``batches``, of audio or of latents, and store them in ``vae``.

    Sums are kept in float64: a corpus has too many frames for float32. Padding does not count.

    Returns:
        The channels whose spread was floored (see ``VAE.set_statistics``).

    Raises:
        InputError: where there are no frames.
    """
    total = torch.zeros(vae.latent_dim, dtype=torch.float64)
    total_squares = torch.zeros_like(total)
    num_frames = 0
    device = vae.latent_mean.device
    was_training = vae.training
    vae.eval()
    for batch in batches:
        means = _means(vae, batch).to(device)  # [B, F, C]
        frames = -(-batch.num_samples.to(device) // vae.hop)
        valid = torch.arange(means.shape[1], device=device) < frames[:, None]
        kept = means[valid].double().cpu()  # [frames, C]
        total += kept.sum(dim=0)
        total_squares += kept.square().sum(dim=0)
        num_frames += len(kept)
    vae.train(was_training)
    if num_frames == 0:
        raise InputError("No audio to measure latent statistics on", where="measure_statistics")
    return vae.set_statistics(total, total_squares, num_frames)


def _means(vae: VAE, batch: Batch) -> Tensor:
    """Posterior means [B, F, C]: encoded, or as a latent shard has them."""
    if batch.latents is not None:
        return batch.latents
    audio = batch.audio.to(vae.latent_mean.device)
    return vae.encode(torch.nn.functional.pad(audio, (0, -audio.shape[-1] % vae.hop))).mean
