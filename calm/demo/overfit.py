"""Overfit a generator on one small batch and sample it back: the shortest proof that the whole method works.

What was learned by the flow loss must come out of the sampler: text rows, clean history, noisy blocks,
expert, cache and ODE all have to agree for the sampled latents to be those of the target.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from calm.generation.course import Settings
from calm.generation.sampler import sample_blocks
from calm.model.flow import Targets, aggregate_losses
from calm.model.generator import Generator
from calm.types import TASKS, Batch, Task

__all__ = ["OverfitCheck", "OverfitResult", "OverfitSample", "normalized_mse", "overfit", "sample_back"]

WARMUP_STEPS = 50
BETAS = (0.9, 0.95)
MAX_GRAD_NORM = 1.0
#: final learning rate as a share of the peak
FINAL_RATE = 0.02


@dataclass(frozen=True, kw_only=True)
class OverfitSample:
    """One sample of the batch: its latents and what the model sampled, normalised, both [F, C]."""

    key: str
    task: Task
    target: Tensor
    sampled: Tensor
    nmse: float


@dataclass(frozen=True, kw_only=True)
class OverfitCheck:
    """A look at the model while it learns: ``loss`` since the last look, and the NMSE of every sample."""

    step: int
    seconds: float
    loss: float
    nmse: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class OverfitResult:
    """How it ended. ``checks`` are in order; the last one belongs to ``samples``."""

    samples: tuple[OverfitSample, ...]
    checks: tuple[OverfitCheck, ...]
    step: int
    seconds: float

    @property
    def worst(self) -> float:
        """The largest normalised MSE of the batch."""
        return max(sample.nmse for sample in self.samples)


def normalized_mse(sampled: Tensor, target: Tensor) -> float:
    """Squared error relative to the target's variation over time: 0 is the target, 1 its mean, both [F, C]."""
    variation = (target - target.mean(dim=0)).square().mean().clamp_min(1e-12)
    return float((sampled - target).square().mean() / variation)


def overfit(
    root: Generator,
    batch: Batch,
    *,
    num_steps: int = 2000,
    max_seconds: float = math.inf,
    goal: float = 0.1,
    learning_rate: float = 2e-3,
    check_steps: int = 100,
    seed: int = 0,
    on_check: Callable[[OverfitCheck], None] | None = None,
) -> OverfitResult:
    """Train ``root`` on ``batch`` alone until every sample comes back with an NMSE of at most ``goal``.

    Conditions are never dropped and the history is never noised: the root stays in eval mode, where it
    does neither. AdamW with warm-up and cosine decay over ``num_steps`` or ``max_seconds``, whichever is nearer.

    Args:
        root: a generator; its VAE stays as it is. ``num_noisy_copies`` of 4 or more learns fastest.
        batch: a few clips, see `Batch`.
        check_steps: steps between two samplings; the first one below the goal ends it.
        seed: of times and noise in training, and of the noise that is sampled from.
        on_check: called after every sampling.
    """
    root.eval()
    optimizer = torch.optim.AdamW([dict(group) for group in root.param_groups()], lr=learning_rate, betas=BETAS)
    generator, task = torch.Generator().manual_seed(seed), _Task(root, batch)
    started, checks, losses, samples = time.perf_counter(), [], [], ()
    for step in range(1, num_steps + 1):
        elapsed = time.perf_counter() - started
        rate = learning_rate * _schedule(step, progress=max(step / num_steps, elapsed / max_seconds))
        losses.append(_train_step(task, optimizer, rate=rate, generator=generator))
        last = step == num_steps or time.perf_counter() - started >= max_seconds
        if last or step % check_steps == 0:
            samples = sample_back(root, batch, seed=seed)
            checks.append(
                OverfitCheck(
                    step=step,
                    seconds=time.perf_counter() - started,
                    loss=sum(losses) / len(losses),
                    nmse=tuple(sample.nmse for sample in samples),
                )
            )
            losses.clear()
            if on_check is not None:
                on_check(checks[-1])
            if last or max(checks[-1].nmse) <= goal:
                break
    return OverfitResult(
        samples=samples, checks=tuple(checks), step=checks[-1].step, seconds=time.perf_counter() - started
    )


def sample_back(root: Generator, batch: Batch, *, num_ode_steps: int = 10, seed: int = 0) -> tuple[OverfitSample, ...]:
    """Sample every clip of the batch from its own text and reference, without guidance, at its own length."""
    block_size, count = root.config.block_sizes[0], len(batch)
    with torch.no_grad():
        targets = root.vae.to_latents(batch.audio)  # [B, F, C]
        prompt = root.prompt_of(batch)
    lengths = (-(-batch.num_samples // root.vae.hop)).clamp(1, targets.shape[1]).tolist()
    settings = Settings(
        num_steps=num_ode_steps,
        solver="euler",
        grid="sway",
        guidance="cfg",
        guidance_interval=(0.0, 1.0),
        block_size=block_size,
        history_time=1.0,
        window_blocks=None,
        cfg_scale=(1.0,) * count,
        temperature=(1.0,) * count,
        seeds=tuple(seed + index for index in range(count)),
    )
    blocks = sample_blocks(root, prompt, settings=settings)
    pieces = [next(blocks).latents for _ in range(-(-max(lengths) // block_size))]
    sampled = torch.cat(pieces, dim=1).float()
    results = []
    for index, length in enumerate(lengths):
        target, own = targets[index, :length].float(), sampled[index, :length]
        results.append(
            OverfitSample(
                key=batch.keys[index] if batch.keys else str(index),
                task=TASKS[int(batch.task[index])],
                target=target,
                sampled=own,
                nmse=normalized_mse(own, target),
            )
        )
    return tuple(results)


class _Task:
    """The batch as the model sees it, encoded once: the VAE and the conditions do not change while it learns."""

    def __init__(self, root: Generator, batch: Batch) -> None:
        self.root, self.batch = root, batch
        with torch.no_grad():
            self.latents, self.prompt = root.vae.to_latents(batch.audio), root.prompt_of(batch)
        self.num_frames = (-(-batch.num_samples // root.vae.hop)).clamp(1, self.latents.shape[1])

    def loss(self, generator: torch.Generator) -> Tensor:
        """The training loss of the root, with all conditions and a clean history."""
        config = self.root.config
        targets = Targets.prepare(
            self.latents,
            num_frames=self.num_frames,
            complete=self.batch.complete,
            task=self.batch.task,
            block_size=config.block_sizes[0],
            num_copies=config.num_noisy_copies,
            generator=generator,
        )
        clean = targets.latents
        velocity, stop, idle = self.root.predict(
            self.prompt, targets, history=clean, history_time=torch.ones_like(clean[..., 0])
        )
        terms = targets.terms(velocity, stop, idle, positive_weight=config.stop_positive_weight)
        return aggregate_losses(terms, stop_weight=config.stop_weight)["loss"]


def _schedule(step: int, *, progress: float) -> float:
    warmup = min(1.0, step / WARMUP_STEPS)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return warmup * (FINAL_RATE + (1 - FINAL_RATE) * cosine)


def _train_step(
    task: _Task, optimizer: torch.optim.Optimizer, *, rate: float, generator: torch.Generator
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = task.loss(generator)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], MAX_GRAD_NORM)
    optimizer.step()
    return float(loss.detach())
