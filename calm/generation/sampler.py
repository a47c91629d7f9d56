"""Block by block: noise, ODE against the cache, one clean pass, the stop head, the next block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from calm.generation.guidance import GUIDANCE
from calm.generation.solver import solve
from calm.model.branch import Branch
from calm.model.generator import Generator
from calm.model.prompt import Prompt

__all__ = ["Block", "Settings", "block_noise", "sample_blocks"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a batch is sampled. Scales, temperatures and seeds have one entry per request."""

    num_steps: int
    solver: str
    grid: str
    guidance: str
    guidance_interval: tuple[float, float]
    block_size: int
    window_blocks: int | None
    history_time: float
    cfg_scale: tuple[float, ...]
    temperature: tuple[float, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Block:
    """One finished block: ``latents`` [B, K, C] (normalised) and the stop head's ``stop`` probabilities [B, K]."""

    index: int
    latents: Tensor
    stop: Tensor


def block_noise(seed: int, block: int, *, shape: tuple[int, int], temperature: float) -> Tensor:
    """Noise [K, C] of one block, from (seed, block) alone: the same in any batch and on any device."""
    state = np.random.SeedSequence([seed, block]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
    return torch.randn(shape, generator=generator) * temperature**0.5


@torch.no_grad()
def sample_blocks(
    model: Generator,
    prompt: Prompt,
    *,
    settings: Settings,
    negative: Prompt | None = None,
    history: Tensor | None = None,
) -> Iterator[Block]:
    """Yield blocks for ever; the caller decides when each request ends.

    Args:
        prompt: conditions of B requests.
        negative: conditions of the unconditional branch; the learned null prefix by default.
        history: normalised latents [B, F, C] that count as already generated (continuation), F a
            multiple of the block size.
    """
    guided = any(scale != 1 for scale in settings.cfg_scale)
    both = Prompt.stack(prompt, negative or prompt.without_conditions()) if guided else prompt
    branch = model.open(both, block_size=settings.block_size, window_blocks=settings.window_blocks)
    weight = model.null_text
    first = 0
    if history is not None:
        for piece in history.split(settings.block_size, dim=1):
            branch.append(_for_branches(piece, guided), time=settings.history_time)
            first += 1
    velocity = _Velocity(branch, settings, device=weight.device, guided=guided)
    shape = (settings.block_size, model.vae.latent_dim)
    index = first
    while True:
        noise = torch.stack(
            [
                block_noise(seed, index, shape=shape, temperature=temperature)
                for seed, temperature in zip(settings.seeds, settings.temperature, strict=True)
            ]
        ).to(weight.device, torch.promote_types(weight.dtype, torch.float32))
        latents = solve(velocity, noise, num_steps=settings.num_steps, solver=settings.solver, grid=settings.grid)
        stop = branch.append(_for_branches(latents, guided), time=settings.history_time)
        yield Block(index=index - first, latents=latents, stop=torch.sigmoid(stop[: len(prompt)].float()))
        index += 1


class _Velocity:
    """The guided velocity of the current block; the ODE state stays in float32."""

    def __init__(self, branch: Branch, settings: Settings, *, device: torch.device, guided: bool) -> None:
        self.branch, self.guided = branch, guided
        self.rule = GUIDANCE[settings.guidance]
        self.scale = torch.tensor(settings.cfg_scale, device=device)[:, None, None]
        self.interval = settings.guidance_interval

    def __call__(self, x: Tensor, t: float, *, span: float | None = None) -> Tensor:
        both = _for_branches(x, self.guided)
        t_all, *spans = (x.new_full((len(both),), value) for value in (t, span) if value is not None)
        velocity = self.branch.velocity(both, t_all, *spans).to(x.dtype)
        if not self.guided:
            return velocity
        conditional, unconditional = velocity.chunk(2)
        low, high = self.interval
        return self.rule(conditional, unconditional, self.scale.to(x.dtype)) if low <= t <= high else conditional


def _for_branches(x: Tensor, guided: bool) -> Tensor:
    """With guidance the conditional and the unconditional branch share every pass."""
    return torch.cat([x, x]) if guided else x
