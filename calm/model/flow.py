"""Rectified flow over blocks: targets, noise, times, and the losses that a person can read.

x_t = (1 - t) eps + t x, velocity target x - eps (Liu et al., 2022; Lipman et al., 2022): t = 0 is
noise, t = 1 is data. One t per block and noisy copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from torch import Tensor

from calm.model.distributed import Window, global_count, global_mean
from calm.types import TASKS, Batch
from calm.vae import VAE

__all__ = ["FlowTerms", "Targets", "aggregate_losses", "block_times", "draw_times", "home_of", "noise_bins", "normal", "target_latents", "uniform"]

#: share of the times drawn uniformly; the others are logit-normal(0, 1) (Esser et al., 2024)
UNIFORM_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class FlowTerms:
    """What one training forward yields, before any average.

    error, time: squared error (mean over C) and t, [B, M, F]; valid: bool [B, F]; task: [B];
    stop: weighted cross-entropy [B, F]; stop_valid: bool [B, F]; idle: scalar 0 that carries the
    zero gradients of an expert without rows.
    """

    error: Tensor
    time: Tensor
    valid: Tensor
    task: Tensor
    stop: Tensor
    stop_valid: Tensor
    idle: Tensor


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Target blocks of a batch with their noise.

    latents [B, F, C] (F = n K); noise and noisy [B, M, F, C]; time [B, M, F]; num_frames [B]: L, frames
    with signal; num_valid [B]: frames up to the end of the block that holds frame L - 1; complete [B].
    """

    latents: Tensor
    noise: Tensor
    noisy: Tensor
    time: Tensor
    num_frames: Tensor
    num_valid: Tensor
    complete: Tensor
    task: Tensor
    block_size: int

    @property
    def num_blocks(self) -> int:
        return self.latents.shape[1] // self.block_size

    @classmethod
    def prepare(
        cls,
        latents: Tensor,
        *,
        num_frames: Tensor,
        complete: Tensor,
        task: Tensor,
        block_size: int,
        num_copies: int,
        generator: torch.Generator | None,
    ) -> Targets:
        """Keep the blocks with signal of latents [B, F, C] and draw noise and one time per block and copy.

        F is a multiple of ``block_size`` and holds all ``num_frames``.
        """
        assert latents.shape[1] % block_size == 0 and int(num_frames.max()) <= latents.shape[1]
        blocks = (-(-num_frames // block_size)).clamp_min(1)
        num_blocks = int(blocks.max())
        latents = latents[:, : num_blocks * block_size]
        noise = normal((len(latents), num_copies, *latents.shape[1:]), latents, generator)
        time = draw_times((len(latents), num_copies, num_blocks), like=latents, generator=generator)
        time = repeat(time, "b m n -> b m (n k)", k=block_size)
        t = time[..., None]
        return cls(
            latents=latents,
            noise=noise,
            noisy=(1 - t) * noise + t * latents[:, None],
            time=time,
            num_frames=num_frames,
            num_valid=blocks * block_size,
            complete=complete,
            task=task,
            block_size=block_size,
        )

    def history(
        self, *, probability: float, level: float, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """The clean rows, slightly noised in a share of the samples, so that the model bears its own drift.

        Returns: latents x_s = (1 - s) eps + s x [B, F, C] with s ~ U(1 - level, 1), and s [B, 1].
        """
        draws = uniform((len(self.latents), 2), self.latents, generator)
        s = torch.where(draws[:, 0] < probability, 1 - level * draws[:, 1], torch.ones_like(draws[:, 0]))
        noise = normal(self.latents.shape, self.latents, generator)
        x = (1 - s[:, None, None]) * noise + s[:, None, None] * self.latents
        return x, s[:, None]

    def terms(
        self,
        velocity: Tensor,
        stop_logits: Tensor,
        idle: Tensor,
        *,
        positive_weight: float,
        target: Tensor | None = None,
        time: Tensor | None = None,
    ) -> FlowTerms:
        """Compare predictions with the targets, in float32 at least.

        ``target`` [B, M, F, C] and ``time`` [B, M, F] stand in for x - eps and for the times of the noisy copies.
        """
        wide = torch.promote_types(velocity.dtype, torch.float32)
        target = (self.latents[:, None] - self.noise if target is None else target).to(wide)
        error = reduce((velocity.to(wide) - target).square(), "b m f c -> b m f", "mean")
        order = torch.arange(self.latents.shape[1], device=self.latents.device)
        valid = order < self.num_valid[:, None]
        ends = (order >= self.num_frames[:, None] - 1).to(wide)
        stop = F.binary_cross_entropy_with_logits(
            stop_logits.to(wide), ends, pos_weight=torch.tensor(positive_weight, device=ends.device), reduction="none"
        )
        # Where a crop ends is not where the recording ends: such samples do not teach stopping.
        return FlowTerms(
            error=error,
            time=self.time if time is None else time,
            valid=valid,
            task=self.task,
            stop=stop,
            stop_valid=valid & self.complete[:, None],
            idle=idle,
        )


def target_latents(vae: VAE, batch: Batch, *, block_size: int) -> Tensor:
    """Normalised latents [B, F, C] of a batch's targets, F whole blocks."""
    if batch.latents is not None:
        return vae.normalize(batch.latents[:, : batch.latents.shape[1] // block_size * block_size])
    # Whole blocks before the VAE, so that what pads the last one is true latents of silence.
    return vae.to_latents(F.pad(batch.audio, (0, -batch.audio.shape[-1] % (block_size * vae.hop))))


def draw_times(shape: tuple[int, ...], *, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Times in 0..1: logit-normal(0, 1) mixed with a uniform share, stratified over all elements."""
    count = torch.Size(shape).numel()
    device = home_of(generator, like)
    order = torch.randperm(count, generator=generator, device=device)
    u = (order + torch.rand(count, generator=generator, device=device)) / count
    # One stratified u serves both: below the share it is stretched to 0..1, above it goes through the quantile.
    uniform = u / UNIFORM_SHARE
    quantile = ((u - UNIFORM_SHARE) / (1 - UNIFORM_SHARE)).clamp(1e-6, 1 - 1e-6)
    time = torch.where(u < UNIFORM_SHARE, uniform, torch.sigmoid(torch.special.ndtri(quantile)))
    return time.view(shape).to(like)


def block_times(time: Tensor, block_size: int) -> Tensor:
    """The one time that the frames of each block share: [B, M, F] -> [B, M, F / K, 1]."""
    return time[..., ::block_size, None]


def aggregate_losses(terms: FlowTerms, *, stop_weight: float, window: Window | None = None) -> dict[str, Tensor]:
    """Scalars from terms. ``loss`` is what is minimised; the readings by task are detached and local.

    Args:
        window: of the gradient accumulation; it weights this batch's means in ``loss``.
    """
    weight = terms.valid[:, None].expand_as(terms.error).to(terms.error.dtype)
    stop_valid = terms.stop_valid.to(terms.stop.dtype)
    counts = {"flow": global_count(weight.sum()), "stop": global_count(stop_valid.sum())}
    flow = global_mean((terms.error * weight).sum(), counts["flow"])
    stop = global_mean((terms.stop * stop_valid).sum(), counts["stop"])
    scalars = {"flow": flow.detach(), "stop": stop.detach()}
    if window is not None:
        flow, stop = flow * window.share("flow", counts["flow"]), stop * window.share("stop", counts["stop"])
    scalars["loss"] = flow + stop_weight * stop + terms.idle
    error, count = (reduce(x.detach(), "b m f -> b", "sum") for x in (terms.error * weight, weight))
    for task in TASKS:
        rows = terms.task == task.id
        if rows.any():
            scalars[f"flow_{task}"] = error[rows].sum() / count[rows].sum()
    return scalars


def noise_bins(terms: FlowTerms, *, num_bins: int) -> tuple[Tensor, Tensor]:
    """Sum of squared errors and number of frames by task and noise level, both [3, num_bins]."""
    index = (terms.time * num_bins).long().clamp(0, num_bins - 1) + num_bins * terms.task[:, None, None]
    weight = terms.valid[:, None].expand_as(terms.error).to(terms.error.dtype)
    sums = []
    for values in (terms.error.detach() * weight, weight):
        flat = torch.zeros(len(TASKS) * num_bins, dtype=values.dtype, device=values.device)
        flat.index_add_(0, index.flatten(), values.flatten())
        sums.append(rearrange(flat, "(task bin) -> task bin", bin=num_bins))
    return sums[0], sums[1]


def home_of(generator: torch.Generator | None, like: Tensor) -> torch.device:
    """Where random numbers are drawn: with a generator where it lives, so that a seed means the same on every device;
    without one beside ``like``, so that a training step does not wait for the CPU."""
    return like.device if generator is None else generator.device


def normal(shape, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """N(0, 1) of a shape, in the type and on the device of ``like``."""
    device = home_of(generator, like)
    return torch.randn(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


def uniform(shape, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """U(0, 1) of a shape, in the type and on the device of ``like``."""
    device = home_of(generator, like)
    return torch.rand(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)
