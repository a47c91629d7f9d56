"""P4 a step of `ar_flow` against a causal language model of the same body, P5 what the speech expert costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import expert_cost
from benchmarks.ratios.ours import config_of
from benchmarks.ratios.readings import Goal, Reading, compare, row
from benchmarks.ratios.turns import seconds, turns
from calm.backbone import Backbone
from calm.model.ar_flow import ARFlow
from calm.model.build import build_model
from calm.model.flow import Targets
from calm.model.prompt import Prompt

LENGTHS, COPIES = (256, 1024), 4


class CausalAttention:
    """Stands where a backbone's cache does, and lets every row see itself and those before it, without a mask in memory."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: None) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])


class PlainModel(nn.Module):
    """A causal language model over latents: a linear layer in, the body, a linear layer out."""

    def __init__(self, body: Backbone, *, latent_dim: int) -> None:
        super().__init__()
        self.body, self.enter, self.leave = body, nn.Linear(latent_dim, body.dim), nn.Linear(body.dim, latent_dim)

    def loss(self, latents: Tensor) -> Tensor:
        """Mean squared error of the next latent, for latents [B, T, C]."""
        positions = torch.arange(latents.shape[1], device=latents.device).expand(len(latents), -1)
        hidden = self.body(self.enter(latents), positions=positions, cache=CausalAttention())
        return F.mse_loss(self.leave(hidden)[:, :-1], latents[:, 1:])

    def step(self, latents: Tensor) -> None:
        self.zero_grad(set_to_none=True)
        self.loss(latents).backward()


def flow_step(root: ARFlow, latents: Tensor, *, num_copies: int) -> Callable[[], None]:
    """Forward and backward of the whole loss of music, without a text; the noise is drawn before."""
    count, frames = latents.shape[:2]
    prompt = Prompt(
        task=torch.full((count,), 2),
        text=torch.zeros(count, 0, dtype=torch.int64),
        num_text=torch.zeros(count, dtype=torch.int64),
        reference=torch.zeros(count, 0, latents.shape[2]),
        num_reference=torch.zeros(count, dtype=torch.int64),
    )
    targets = Targets.prepare(
        latents,
        num_frames=torch.full((count,), frames),
        complete=torch.ones(count, dtype=torch.bool),
        task=prompt.task,
        block_size=root.config.block_sizes[0],
        num_copies=num_copies,
        generator=torch.Generator().manual_seed(0),
    )
    return lambda: expert_cost.step(root, prompt, targets)


def bodies() -> tuple[ARFlow, PlainModel]:
    """Our model and the plain one on the same weights of one body of 13 M."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        root = build_model(config_of("13m")).train()
        root.expert = None
        return root, PlainModel(root.backbone, latent_dim=root.vae.latent_dim)


@row("P4")
def doubled_sequence(rounds: int) -> Iterator[Reading]:
    """Processor time of forward and backward: `ar_flow` over the causal model; with 4 noisy copies per supervised row."""
    root, plain = bodies()
    bars = {256: Goal(sense="<=", value=2.1, bar=2.2, limit="2: two rows for one"), 1024: Goal(sense="<=", value=2.5, limit="2")}
    for length in LENGTHS:
        latents = torch.randn(1, length, root.vae.latent_dim, generator=torch.Generator().manual_seed(1))
        jobs = {"plain": lambda x=latents: plain.step(x), "flow": flow_step(root, latents, num_copies=1)}
        if length == LENGTHS[0]:
            jobs["copies"] = flow_step(root, latents, num_copies=COPIES)
        found = turns(jobs, rounds=rounds)
        causal = f"causal model {seconds(found['plain'].cpu)}"
        yield Reading(
            row="P4",
            key=f"P4 {length}",
            what=f"training step, 13 M, T = {length}: ar_flow / causal model",
            ours=seconds(found["flow"].cpu),
            peer=causal,
            **compare(found["flow"].cpu, found["plain"].cpu),
            goal=bars[length],
        )
        if "copies" in found:
            limit = (1 + COPIES) / COPIES
            yield Reading(
                row="P4",
                key=f"P4 {length} copies",
                what=f"the same with {COPIES} noisy copies, per supervised row",
                ours=seconds(found["copies"].cpu),
                peer=causal,
                **compare([t / COPIES for t in found["copies"].cpu], found["plain"].cpu),
                goal=Goal(sense="<=", value=1.4, limit=f"{limit:g}"),
            )


@row("P5")
def expert(rounds: int) -> Iterator[Reading]:
    """`benchmarks/expert_cost.py` in as many pairs as a minute allows; rows through the expert are counted."""
    root = expert_cost.build_root().train()
    batch = expert_cost.BATCH
    ideal = expert_cost.ideal(root, share=0.25)
    for key, tasks, pairs, goal in (
        ("without speech", [1, 2] * (batch // 2), 6 * rounds, Goal(sense="<=", value=1.02)),
        ("quarter speech", [0, 1, 2, 1] * (batch // 4), 2 * rounds, Goal(sense="<=", value=1.05 * ideal, limit=f"{ideal:.3f}: its share")),
    ):
        found = expert_cost.measure(root, tasks, pairs=pairs)
        yield Reading(
            row="P5",
            key=f"P5 {key}",
            what=f"forward and backward {key}: with the expert / without (quartiles of {pairs} pairs)",
            ours=f"{found['seconds_with']:.3g} s, {found['expert_rows']} rows through the expert",
            peer=f"{found['seconds_without']:.3g} s",
            ratio=found["ratio"],
            low=found["quartile_low"],
            high=found["quartile_high"],
            goal=goal,
            details=found,
        )
