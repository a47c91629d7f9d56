"""Histories that the model draws anew itself: its own errors, in training."""

from __future__ import annotations

import pytest
import torch

from calm.errors import ConfigError
from calm.model.head_flow import NUM_OWN_STEPS, HeadFlow
from tests.factory import tiny_batch, tiny_generator, tiny_prompt
from tests.model.test_identities import targets_of


def asked(**options):
    root = tiny_generator("head_flow", **options).double()
    prompt = tiny_prompt(root, [0, 1], num_text=[7, 3], num_reference=[5, 0])
    return root, prompt, targets_of(root, [0, 1], block_size=2, num_blocks=4)


def test_a_block_drawn_anew_from_noise_is_what_generation_draws_after_the_true_ones():
    root, prompt, targets = asked()
    found = root.redrawn(prompt, targets, start=torch.zeros(2, dtype=torch.float64), generator=torch.Generator().manual_seed(3))
    noise = torch.randn(2, 1, 8, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)[:, 0]
    with torch.no_grad():
        branch, blocks = root.open(prompt, block_size=2), []
        for x, truth in zip(noise.split(2, dim=1), targets.latents.split(2, dim=1), strict=True):
            for step in range(NUM_OWN_STEPS):
                time = torch.full((2,), step / NUM_OWN_STEPS, dtype=torch.float64)
                x = x + branch.velocity(x, time) / NUM_OWN_STEPS
            blocks.append(x)
            branch.append(truth)
    torch.testing.assert_close(found, torch.cat(blocks, dim=1), rtol=0, atol=1e-10)


def test_the_later_it_starts_the_nearer_to_the_truth_it_ends():
    root, prompt, targets = asked()
    away = [
        (root.redrawn(prompt, targets, start=torch.full((2,), start, dtype=torch.float64), generator=torch.Generator().manual_seed(0)) - targets.latents).abs().max()
        for start in (0.0, 0.9, 1.0)
    ]  # fmt: skip
    assert away[0] > away[1] > 0 and away[2] < 1e-12


def test_only_its_share_of_the_samples_gets_an_own_history_which_counts_as_clean_and_none_in_validation():
    root, prompt, targets = asked(own_history_probability=0.5, history_noise_probability=0.0)
    root.train()
    chosen = set()
    for seed in range(12):
        history, time = root.histories(prompt, targets, torch.Generator().manual_seed(seed))
        own = (history != targets.latents).flatten(1).any(dim=1)
        assert (time == 1).all() and not history.requires_grad
        chosen.add(tuple(own.tolist()))
    assert len(chosen) > 2
    history, _ = root.eval().histories(prompt, targets, None)
    assert torch.equal(history, targets.latents)


def test_every_weight_still_learns_and_the_loss_follows_from_the_seed():
    root, batch = tiny_generator("head_flow", own_history_probability=1.0).train(), tiny_batch([0, 1, 2, 2])
    losses = [root.losses(batch, generator=torch.Generator().manual_seed(seed))["loss"] for seed in (7, 7, 8)]
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[0], losses[2])
    losses[0].backward()
    assert all(p.grad is not None for name, p in root.named_parameters() if not name.startswith(("vae.", "expert.")))


def test_a_share_beyond_0_to_1_is_refused():
    with pytest.raises(ConfigError, match="own_history_probability"):
        HeadFlow.Config(own_history_probability=1.5)
