"""Several rollouts in one pass: each as if it were alone, at a block of its own."""

from __future__ import annotations

import pytest
import torch

from tests.factory import tiny_generator, tiny_prompt

K = 3


@pytest.mark.parametrize("model", ["ar_flow", "head_flow"])
@pytest.mark.parametrize("num_history_blocks", [0, 1])
def test_joined_branches_equal_each_alone_whatever_their_age_length_and_task(model, num_history_blocks):
    root = tiny_generator(model, num_history_blocks=num_history_blocks).double()
    random = torch.Generator().manual_seed(0)
    prompts = [
        tiny_prompt(root, [0], num_text=[7], num_reference=[5]),
        tiny_prompt(root, [1, 0], num_text=[4, 2], num_reference=[0, 0]),
        tiny_prompt(root, [2], num_text=[9], num_reference=[0]),
    ]
    sizes, windows = [1, 2, 1], [None, None, 2]

    def draw(size: int) -> torch.Tensor:
        return torch.randn(size, K, 4, generator=random, dtype=torch.float64)

    with torch.no_grad():
        joined, alone = (
            [root.open(p, block_size=K, window_blocks=w) for p, w in zip(prompts, windows, strict=True)] for _ in range(2)
        )
        for branches in (joined, alone):
            branches[0].append(torch.ones(1, K, 4).double())
        for members in ([0, 1], [0, 1, 2], [2, 0, 1], [2], [1, 2]):
            noisy, blocks = ([draw(sizes[i]) for i in members] for _ in range(2))
            times = [torch.full((sizes[i],), 0.1 + 0.3 * i).double() for i in members]
            branch = root.join([joined[i] for i in members])
            found = branch.velocity(torch.cat(noisy), torch.cat(times))
            stops = branch.append(torch.cat(blocks), time=torch.cat(times))
            expected = [alone[i].velocity(x, t) for i, x, t in zip(members, noisy, times, strict=True)]
            expected_stops = [alone[i].append(x, time=t) for i, x, t in zip(members, blocks, times, strict=True)]
            torch.testing.assert_close(found, torch.cat(expected), rtol=0, atol=1e-9)
            torch.testing.assert_close(stops, torch.cat(expected_stops), rtol=0, atol=1e-9)
