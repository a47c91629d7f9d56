"""The end of every proof: learn one clip of each task by heart, and get it back by sampling."""

from __future__ import annotations

import pytest
import torch

from calm.demo.overfit import normalized_mse, overfit, sample_back
from calm.model.generator import Generator
from calm.registry import build, lookup
from calm.types import TASKS, Batch
from calm.vae.statistics import measure_statistics
from tests.factory import HEADS, TINY_VAE

FRAMES = 16
DIM = 48


def small_generator(model: str) -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = build("vae", TINY_VAE)
        sizes = {"dim": DIM, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "ffn_dim": 96}
        root_class = lookup("model", model)
        head = {"name": HEADS[model]} | ({"width": DIM, "num_blocks": 2} if model == "head_flow" else {})
        return root_class(
            root_class.Config(block_sizes=(4,), num_noisy_copies=8),
            vae=vae,
            backbone=build("backbone", {"name": "transformer", **sizes}),
            head=build("head", head, dim=DIM, latent_dim=vae.latent_dim),
            expert=build("expert", "speech_ffn", dim=DIM, ffn_dim=96, num_layers=2),
        )


def three_clips(root: Generator) -> Batch:
    """One clip of each task that changes over time, each of its own length."""
    generator = torch.Generator().manual_seed(0)
    hop = root.vae.hop
    envelope = torch.nn.functional.interpolate(torch.rand(3, 1, FRAMES, generator=generator), FRAMES * hop)
    audio = envelope * torch.randn(3, 1, FRAMES * hop, generator=generator).clamp(-1, 1)
    batch = Batch(
        audio=audio,
        num_samples=torch.tensor([FRAMES, FRAMES - 3, FRAMES - 6]) * hop,
        complete=torch.ones(3, dtype=torch.bool),
        task=torch.tensor([task.id for task in TASKS]),
        text=torch.randint(3, 250, (3, 8), generator=generator),
        num_text=torch.tensor([8, 5, 3]),
        reference=audio.new_zeros(3, 1, 0),
        num_reference=torch.zeros(3, dtype=torch.int64),
        keys=tuple(str(task) for task in TASKS),
    )
    measure_statistics(root.vae, [batch])
    return batch


@pytest.mark.parametrize("model", ["ar_flow", "head_flow"])
def test_one_clip_of_each_task_is_sampled_back(model):
    root = small_generator(model)
    batch = three_clips(root)
    before = [sample.nmse for sample in sample_back(root, batch)]
    result = overfit(root, batch, num_steps=600, learning_rate=4e-3, check_steps=25)
    assert min(before) > 0.8
    assert [sample.task for sample in result.samples] == list(TASKS)
    assert result.worst <= 0.1, [check.nmse for check in result.checks]
    assert [len(sample.target) for sample in result.samples] == [FRAMES, FRAMES - 3, FRAMES - 6]


def test_the_same_seed_learns_the_same():
    results = []
    for _ in range(2):
        root = small_generator("ar_flow")
        results.append(overfit(root, three_clips(root), num_steps=6, check_steps=3, goal=0.0))
    assert [check.loss for check in results[0].checks] == [check.loss for check in results[1].checks]
    assert torch.equal(results[0].samples[0].sampled, results[1].samples[0].sampled)


def test_time_ends_learning_and_the_vae_stays_as_it_was():
    root = small_generator("ar_flow")
    batch = three_clips(root)
    before = {name: value.clone() for name, value in root.vae.state_dict().items()}
    result = overfit(root, batch, num_steps=1000, max_seconds=1e-3, goal=0.0)
    assert len(result.checks) == 1 and result.step < 1000
    assert all(torch.equal(value, before[name]) for name, value in root.vae.state_dict().items())


def test_normalised_error_is_zero_for_the_target_and_one_for_its_mean():
    target = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    assert normalized_mse(target, target) == 0.0
    assert normalized_mse(target.mean(dim=0).expand_as(target), target) == pytest.approx(1.0)
