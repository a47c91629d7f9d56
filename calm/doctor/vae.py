"""Is the VAE trained? Measured by what it makes of a few clips."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from calm.audio import resample, to_channels
from calm.data.shards import ShardSet
from calm.doctor.case import Case
from calm.doctor.finding import Finding, Level
from calm.evaluation.reconstruction import MelDistance, reconstruct
from calm.types import TASKS, Waveform
from calm.vae import VAE

__all__ = ["TRAINED_RATIO", "UNTRAINED_RATIO", "check_vae", "distance_ratio"]

#: log-mel distance of the reconstruction, as a share of that of noise. `mini_vae` has 0.17 on held-out clips; with random
#: weights the VAEs of conf/vae have 0.39 to 0.54, less than 1 because they start from an analysis of the spectrum
TRAINED_RATIO, UNTRAINED_RATIO = 0.25, 0.35
#: clips of each task that are looked at, and how much of each
CLIPS_PER_TASK, SECONDS = 2, 3.0


def check_vae(case: Case) -> Iterator[Finding]:
    """The reconstruction of a few clips is far nearer to them than noise of their loudness is."""
    if case.generator is None or not case.has_weights:
        return
    vae = case.generator.vae
    where = str(case.config.vae_ckpt_path or case.config.pretrained_ckpt_path or "vae")
    if not vae.has_statistics:
        hint = "an export of a trained VAE has them; else training measures them over its first batches"
        yield Finding(level=Level.WARNING, what="The VAE has no latent statistics", where=where, hint=hint)
    shards = next((found for found in (case.validation, case.train) if found is not None and not found.latents), None)
    if shards is None:
        if case.train is not None:
            what = "The shards hold latents, so there is no audio to try the VAE on; its hash is what was compared"
            yield Finding(level=Level.OK, what=what, where=where)
        return
    ratio = distance_ratio(vae, _excerpts(shards))
    level = Level.OK if ratio < TRAINED_RATIO else Level.WARNING if ratio < UNTRAINED_RATIO else Level.ERROR
    yield Finding(
        level=level,
        what={
            Level.OK: "The VAE reconstructs",
            Level.WARNING: "The VAE reconstructs poorly: it has trained little, or not on such clips",
            Level.ERROR: "The VAE is not trained",
        }[level],
        where=where,
        value=f"log-mel distance to the original {ratio:.2f} of that of noise "
        f"(trained: below {TRAINED_RATIO:g}, untrained: above {UNTRAINED_RATIO:g})",
        hint="" if level is Level.OK else "train one (`experiment=..._vae`) and set vae_ckpt_path=runs/NAME/export",
    )


def distance_ratio(vae: VAE, clips: list[Waveform]) -> float:
    """Return the multi-scale log-mel distance of reconstructions to originals, relative to noise as loud as they are.

    0 is a perfect copy, 1 no better than noise.
    """
    distance, generator = MelDistance(vae.sample_rate), torch.Generator().manual_seed(0)
    ours, noise = 0.0, 0.0
    vae.eval()
    for clip in clips:
        original = to_channels(resample(clip, vae.sample_rate), vae.channels)
        loudness = original.audio.square().mean().sqrt()
        other = loudness * torch.randn(original.audio.shape, generator=generator)
        ours += distance(reconstruct(vae, original), original)
        noise += distance(Waveform(audio=other, sample_rate=vae.sample_rate), original)
    return ours / max(noise, 1e-9)


def _excerpts(shards: ShardSet) -> list[Waveform]:
    rows = [row for task in TASKS for row in shards.by_task[task][:CLIPS_PER_TASK]]
    return [shards.read(row, max_seconds=SECONDS).waveform for row in rows]
