"""Do the first batches come, and are their latents what the VAE's statistics promise?"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from calm.doctor.case import Case
from calm.doctor.finding import Finding, Level
from calm.training.fit import build_data
from calm.types import Batch
from calm.vae import VAE

__all__ = ["check_latents", "spread"]

#: how many batches of how many clips, and how much of each clip is encoded
NUM_BATCHES, BATCH_SIZE, SECONDS = 4, 8, 4.0
#: bars on the median channel: |mean| and spread, in units of the spread that the VAE stored
LARGEST_MEAN, LEAST_SPREAD, LARGEST_SPREAD = 0.5, 0.5, 2.0


def check_latents(case: Case) -> Iterator[Finding]:
    """A few batches are made as training makes them; normalised, they have nearly zero mean and unit spread.

    With a floor f on the spread (``vae.latent_std_floor``) the median channel has a spread of 1 / max(1, f) by
    construction, and is held to half of that.
    """
    if case.root is None or case.train is None:
        return
    batches = _batches(case)
    shape = f"{NUM_BATCHES} batches of {len(batches[0])} clips"
    yield Finding(level=Level.OK, what="The first batches come", where="data", value=shape)
    if case.generator is None or not case.has_weights or not case.generator.vae.has_statistics:
        return
    vae = case.generator.vae
    mean, deviation = spread(vae, batches)
    middle, least = float(mean.abs().median()), LEAST_SPREAD / max(1.0, vae.std_floor)
    width = float(deviation.median())
    fits = middle <= LARGEST_MEAN and least <= width <= LARGEST_SPREAD
    yield Finding(
        level=Level.OK if fits else Level.ERROR,
        what="The latents are as the VAE's statistics say" if fits else "The latents do not fit the VAE's statistics",
        where="latents",
        value=f"median |mean| {middle:.2f} (at most {LARGEST_MEAN:g}), median spread {width:.2f} "
        f"({least:.2g} to {LARGEST_SPREAD:g}), {len(mean)} channels",
        hint="" if fits else "these clips are far from what the VAE was trained on, or its statistics are not of its "
        "weights: train the VAE on such clips",
    )


@torch.no_grad()
def spread(vae: VAE, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation [C] of normalised latents over the valid frames of ``batches``."""
    kept = []
    for batch in batches:
        if batch.latents is None:
            size = min(batch.audio.shape[-1], round(SECONDS * vae.sample_rate))
            audio = batch.audio[..., :size]
            latents = vae.to_latents(F.pad(audio, (0, -size % vae.hop)))
        else:
            latents = vae.normalize(batch.latents)
        frames = -(-batch.num_samples // vae.hop)
        kept.append(latents[torch.arange(latents.shape[1]) < frames[:, None]])
    frames = torch.cat(kept).double()
    return frames.mean(dim=0), frames.std(dim=0)


def _batches(case: Case) -> list[Batch]:
    """The first batches, smaller than in training, read in this process; nothing is written about bad clips."""
    size = min(case.config.data.batch_size, BATCH_SIZE)
    data = dataclasses.replace(case.config.data, num_workers=0, batch_size=size)
    module = build_data(dataclasses.replace(case.config, data=data), case.root)
    module.bad_clips_path = None
    if not case.has_weights:
        module.vae_hash = None if case.train.latents is None else case.train.latents.vae
    return list(itertools.islice(iter(module.train_dataloader()), NUM_BATCHES))
