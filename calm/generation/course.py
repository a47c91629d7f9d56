"""`Course`: requests that began together, on their way: their settings, their cache, and the block they are at."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from calm.model.branch import Branch
from calm.model.generator import Generator
from calm.model.prompt import Prompt

__all__ = ["Block", "Course", "Settings", "block_noise", "open_course"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a batch is sampled. Scales, temperatures and seeds have one entry per request.

    ``max_blocks``: as many are expected at most, with those of a history that is continued; None if nobody knows.
    """

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
    max_blocks: int | None = None
    #: the head reads both branches, though guidance is in its weights
    reads_both: bool = False

    @property
    def guided(self) -> bool:
        """Whether there is an unconditional branch."""
        return self.reads_both or any(scale != 1 for scale in self.cfg_scale)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block: ``latents`` [B, K, C] (normalised), and ``stop`` probabilities [B, K], None where nobody asked for them."""

    index: int
    latents: Tensor
    stop: Tensor | None


@dataclass(eq=False, kw_only=True)
class Course:
    """State of B requests between two blocks. With guidance ``branch`` has 2 B rows: conditional, then unconditional.

    ``index`` counts finished blocks, and those of the history that is continued: ``first`` of them. ``begun`` is the
    first velocity of the current block, for the rows of ``branch`` [.., K, C], where the last pass brought it.
    """

    settings: Settings
    branch: Branch
    first: int = 0
    index: int = field(init=False)
    begun: Tensor | None = None

    def __post_init__(self) -> None:
        self.index = self.first

    def __len__(self) -> int:
        return len(self.settings.seeds)

    def noise(self, latent_dim: int, *, ahead: int = 0) -> Tensor:
        """What the current block, or one so far ahead, starts from, [B, K, C], on the CPU."""
        shape = (self.settings.block_size, latent_dim)
        pairs = zip(self.settings.seeds, self.settings.temperature, strict=True)
        return torch.stack([block_noise(seed, self.index + ahead, shape=shape, temperature=t) for seed, t in pairs])

    def block(self, latents: Tensor, stop_logits: Tensor | None = None) -> Block:
        """The current block."""
        stop = None if stop_logits is None else torch.sigmoid(stop_logits.float())
        return Block(index=self.index - self.first, latents=latents, stop=stop)


def block_noise(seed: int, block: int, *, shape: tuple[int, int], temperature: float) -> Tensor:
    """Noise [K, C] of one block, from (seed, block) alone: the same in any batch and on any device."""
    state = np.random.SeedSequence([seed, block]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
    return torch.randn(shape, generator=generator) * temperature**0.5


@torch.no_grad()
def open_course(
    model: Generator,
    prompt: Prompt,
    *,
    settings: Settings,
    negative: Prompt | None = None,
    history: Tensor | None = None,
) -> Course:
    """Read the prompt, and the history that is continued.

    Args:
        prompt: conditions of B requests.
        negative: conditions of the unconditional branch; the learned null prefix by default.
        history: normalised latents [B, F, C] that count as already generated (continuation), F a
            multiple of the block size.
    """
    both = Prompt.stack(prompt, negative or prompt.without_conditions()) if settings.guided else prompt
    branch = model.open(
        both,
        block_size=settings.block_size,
        window_blocks=settings.window_blocks,
        max_blocks=settings.max_blocks,
    )
    pieces = () if history is None else history.split(settings.block_size, dim=1)
    for piece in pieces:
        branch.append(torch.cat([piece, piece]) if settings.guided else piece, time=settings.history_time)
    return Course(settings=settings, branch=branch, first=len(pieces))
