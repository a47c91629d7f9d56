"""The clock: seconds since the start of a target, the same in training and generation."""

from __future__ import annotations

import math

import pytest
import torch

from calm.model.clock import SLOWEST, Clock
from calm.sequence import Rows, block_rows, prefix_rows
from tests.factory import tiny_batch, tiny_generator, tiny_prompt
from tests.model.test_identities import TOLERANCE, cached, parallel, targets_of

MODELS = ["ar_flow", "head_flow"]


def with_clock(model: str):
    return tiny_generator(model, clock=True).double()


@pytest.mark.parametrize("model", MODELS)
def test_a_clock_tells_generation_what_it_told_training(model):
    root = with_clock(model)
    prompt = tiny_prompt(root, [0, 1], num_text=[7, 3], num_reference=[5, 0])
    targets = targets_of(root, [0, 1], block_size=3, num_blocks=4)
    for actual, expected in zip(cached(root, prompt, targets), parallel(root, prompt, targets), strict=True):
        torch.testing.assert_close(actual, expected, **TOLERANCE)


def test_joined_branches_have_each_their_own_time():
    root = with_clock("ar_flow")
    prompts = [tiny_prompt(root, [task], num_text=[4], num_reference=[0]) for task in (1, 2)]
    block, noise = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    zero = torch.zeros(2, dtype=torch.float64)
    with torch.no_grad():
        branches, alone = ([root.open(prompt, block_size=3) for prompt in prompts] for _ in range(2))
        branches[1].append(block[1:]), alone[1].append(block[1:])
        _, found = root.join(branches).append_and_begin(block, noise)
        for index, branch in enumerate(alone):
            branch.append(block[index : index + 1])
            expected = branch.velocity(noise[index : index + 1], zero[:1])
            torch.testing.assert_close(found[index : index + 1], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_a_clock_that_has_learned_nothing_changes_nothing(model):
    root = tiny_generator(model, clock=True).double()
    prompt, targets = tiny_prompt(root, [1], num_text=[5], num_reference=[0]), targets_of(root, [1], block_size=2, num_blocks=3)
    torch.nn.init.zeros_(root.clock.out.weight)
    with_it, _ = parallel(root, prompt, targets)
    root.clock = None
    without, _ = parallel(root, prompt, targets)
    torch.testing.assert_close(with_it, without, **TOLERANCE)


def test_rows_of_the_prefix_have_no_time_and_clean_and_noisy_copies_share_theirs():
    clock = Clock(6, frame_rate=12.5)
    torch.nn.init.normal_(clock.out.weight)
    one = torch.tensor([1])
    prefix = prefix_rows(num_reference=one, num_text=one, reference_length=1, text_length=2)
    clean, noisy = (block_rows(start=one, first_block=1, num_blocks=1, block_size=2, copy=copy) for copy in (0, 1))
    told = clock(Rows.concatenate([prefix, clean, noisy]))[0]
    assert not told[:3].any() and told[3:].any()
    assert torch.equal(told[3:5], told[5:7])


def test_a_quarter_of_the_training_begins_at_a_random_moment_that_the_same_generator_draws_again():
    clock = Clock(2, frame_rate=12.5)
    first, again = (clock.draw_origins(4000, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    later = first[first > 0]
    assert len(later) / len(first) == pytest.approx(0.25, abs=0.03)
    assert later.max() <= 600 * 12.5 and later.mean() == pytest.approx(300 * 12.5, rel=0.1)


def test_a_sample_that_begins_later_hears_what_an_earlier_one_hears_then():
    clock = Clock(3, frame_rate=12.5)
    torch.nn.init.normal_(clock.out.weight)
    rows = block_rows(start=torch.tensor([0]), first_block=0, num_blocks=9, block_size=1)
    torch.testing.assert_close(clock(rows, origin=torch.tensor([4.0]))[:, :5], clock(rows)[:, 4:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_training_with_a_clock_draws_everything_from_its_generator(model):
    root, batch = tiny_generator(model, clock=True).train(), tiny_batch([0, 1, 2, 2])
    losses = [root.losses(batch, generator=torch.Generator().manual_seed(seed))["loss"] for seed in (7, 7, 8)]
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[0], losses[2])


def test_what_it_says_repeats_with_the_period_of_its_rates():
    clock = Clock(2, frame_rate=2 * math.pi)
    clock.out.weight.data.zero_()[:, 0] = 1.0
    rate = clock.turn[0].item()
    assert rate == pytest.approx(SLOWEST, rel=1e-3)
    rows = block_rows(start=torch.tensor([0]), first_block=0, num_blocks=5, block_size=1)
    expected = torch.tensor([math.cos(rate * frame) for frame in range(5)])
    torch.testing.assert_close(clock(rows)[0, :, 0], expected)
