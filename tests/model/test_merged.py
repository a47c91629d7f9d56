"""One pass for the clean rows of a block and the first noisy rows of the next."""

from __future__ import annotations

import pytest
import torch

from calm.generation.course import Settings
from calm.generation.sampler import sample_blocks
from calm.model.ar_flow import ARFlowBranch
from tests.factory import tiny_generator, tiny_prompt

K, STEPS = 3, 2
EXACT = {"rtol": 0, "atol": 1e-9}


@pytest.mark.parametrize("num_history_blocks", [0, 2])
def test_a_clean_pass_that_begins_the_next_block_equals_the_two_passes_apart(num_history_blocks):
    root = tiny_generator("ar_flow", num_history_blocks=num_history_blocks).double()
    prompts = [
        tiny_prompt(root, [0, 1], num_text=[7, 3], num_reference=[5, 0]),
        tiny_prompt(root, [2], num_text=[4], num_reference=[0]),
    ]
    random, zero = torch.Generator().manual_seed(0), torch.zeros(3, dtype=torch.float64)
    with torch.no_grad():
        merged, apart = ([root.open(prompt, block_size=K) for prompt in prompts] for _ in range(2))
        for _ in range(5):
            block, noise, noisy = torch.randn(3, 3, K, 4, generator=random, dtype=torch.float64)
            stop, first = root.join(merged).append_and_begin(block, noise, time=0.8)
            torch.testing.assert_close(stop, root.join(apart).append(block, time=0.8), **EXACT)
            torch.testing.assert_close(first, root.join(apart).velocity(noise, zero), **EXACT)
            later = [root.join(branches).velocity(noisy, zero + 0.3) for branches in (merged, apart)]
            torch.testing.assert_close(*later, **EXACT)


@pytest.mark.parametrize(("window_blocks", "saved"), [(None, 5), (3, 3)])
def test_generation_saves_a_pass_a_block_while_nothing_slides_and_makes_the_same(window_blocks, saved, monkeypatch):
    root = tiny_generator("ar_flow").double()
    merged, few = blocks_of(root, window_blocks)
    monkeypatch.setattr(ARFlowBranch, "can_begin", False)
    apart, many = blocks_of(root, window_blocks)
    for one, other in zip(merged, apart, strict=True):
        torch.testing.assert_close(one.latents, other.latents, rtol=0, atol=1e-5)
        torch.testing.assert_close(one.stop, other.stop, rtol=0, atol=1e-5)
    assert (many, many - few) == (6 * (STEPS + 1), saved)


def blocks_of(root, window_blocks):
    """Six blocks, and how many passes through the backbone they took besides that of the prompt."""
    settings = Settings(
        num_steps=STEPS, solver="euler", grid="sway", guidance="cfg", guidance_interval=(0.0, 1.0), block_size=K,
        window_blocks=window_blocks, history_time=1.0, cfg_scale=(2.0,), temperature=(1.0,), seeds=(4,),
    )  # fmt: skip
    passes = []
    handle = root.backbone.register_forward_hook(lambda *_: passes.append(1))
    blocks = sample_blocks(root, tiny_prompt(root, [0], num_text=[7], num_reference=[5]), settings=settings)
    made = [next(blocks) for _ in range(6)]
    handle.remove()
    return made, len(passes) - 1
