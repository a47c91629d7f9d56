"""Several rollouts in one pass: each as if it were alone, at a block of its own."""

from __future__ import annotations

import pytest
import torch

from calm.model.prompt import Prompt
from tests.factory import tiny_few_steps, tiny_generator, tiny_prompt

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


def test_every_row_of_a_joined_branch_has_a_span_of_its_own():
    root = tiny_few_steps().double()
    prompts = [tiny_prompt(root, [task], num_text=[5], num_reference=[0]) for task in (0, 1, 2)]
    noisy = torch.randn(3, K, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    time, span = torch.tensor([[0.0, 0.5, 0.25], [1.0, 0.5, 0.0]], dtype=torch.float64)
    with torch.no_grad():
        branches = [root.open(prompt, block_size=K) for prompt in prompts]
        found = root.join(branches).velocity(noisy, time, span)
        alone = [branch.velocity(*(x[i : i + 1] for x in (noisy, time, span))) for i, branch in enumerate(branches)]
        without = branches[2].velocity(noisy[2:], time[2:])
    torch.testing.assert_close(found, torch.cat(alone), rtol=0, atol=1e-9)
    torch.testing.assert_close(found[2:], without, rtol=0, atol=1e-9)
    assert not torch.allclose(root.join(branches).velocity(noisy, time), found)


def test_a_head_of_both_branches_reads_the_two_states_of_every_request_alike_in_any_company():
    root = tiny_few_steps("both").double()
    # Two requests, then one: of each branch conditional rows, then unconditional ones.
    prompts = [tiny_prompt(root, tasks, num_text=[5] * len(tasks), num_reference=[0] * len(tasks)) for tasks in ([0, 1], [2])]
    noisy = torch.randn(3, K, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    time, span = torch.tensor([[0.0, 0.5, 0.25], [1.0, 0.5, 0.5]], dtype=torch.float64)
    rows = torch.tensor([0, 1, 0, 1, 2, 2])
    with torch.no_grad():
        branches = [root.open(Prompt.stack(prompt, prompt.without_conditions()), block_size=K) for prompt in prompts]
        found = root.join(branches).velocity(noisy[rows], time[rows], span[rows])
        alone = [
            branch.velocity(noisy[part], time[part], span[part])
            for branch, part in zip(branches, rows.split([4, 2]), strict=True)
        ]
        states, bare = (torch.cat([branch.hidden.chunk(2)[half] for branch in branches]) for half in (0, 1))
        frames = {"noisy": noisy, "time": time[:, None], "span": span[:, None]}
        by_hand, one_branch = root.head(states, bare=bare, **frames), root.head(states, **frames)
    torch.testing.assert_close(found, by_hand[rows], rtol=0, atol=1e-9)
    torch.testing.assert_close(found, torch.cat(alone), rtol=0, atol=1e-9)
    assert not torch.allclose(one_branch, by_hand)
