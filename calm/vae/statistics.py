"""Latent statistics: mean and spread of every channel over a corpus, measured once after the VAE is trained."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from calm.errors import InputError
from calm.types import Batch
from calm.vae.base import VAE

__all__ = ["measure_statistics"]


@torch.no_grad()
def measure_statistics(vae: VAE, batches: Iterable[Batch]) -> list[int]:
    """Measure posterior means over the valid frames of ``batches`` and store them in ``vae``.

    Sums are kept in float64: a corpus has too many frames for float32. Padding does not count.

    Returns:
        The channels whose spread was floored (see ``VAE.set_statistics``).

    Raises:
        InputError: where the batches hold no audio.
    """
    total = torch.zeros(vae.latent_dim, dtype=torch.float64)
    total_squares = torch.zeros_like(total)
    num_frames = 0
    device = vae.latent_mean.device
    was_training = vae.training
    vae.eval()
    for batch in batches:
        audio = batch.audio.to(device)
        audio = torch.nn.functional.pad(audio, (0, -audio.shape[-1] % vae.hop))
        means = vae.encode(audio).mean  # [B, F, C]
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
