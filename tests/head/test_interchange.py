"""What every flow head must do."""

from __future__ import annotations

import pytest
import torch

from calm.head import StopHead
from calm.registry import build, names


@pytest.fixture(params=names("head"))
def head(request):
    torch.manual_seed(0)
    return build("head", request.param, dim=16, latent_dim=4)


def inputs(*shape: int):
    return torch.randn(*shape, 16), torch.randn(*shape, 4), torch.rand(*shape)


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 3, 5, 4)])
def test_it_maps_states_to_velocities_of_any_leading_shape(head, shape):
    hidden, noisy, time = inputs(*shape)
    assert head(hidden, noisy=noisy, time=time).shape == (*shape, 4)


def test_it_starts_at_zero_velocity(head):
    hidden, noisy, time = inputs(2, 4)
    assert not head(hidden, noisy=noisy, time=time).any()


def test_it_learns_from_the_state_the_noisy_latent_and_the_time(head):
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    hidden, noisy, time = inputs(8, 4)
    for _ in range(3):
        optimizer.zero_grad()
        head(hidden, noisy=noisy, time=time).sub(torch.randn(8, 4, 4)).square().mean().backward()
        optimizer.step()
    before = head(hidden, noisy=noisy, time=time)
    assert not torch.allclose(head(hidden.flip(-1), noisy=noisy, time=time), before)
    assert not torch.allclose(head(hidden, noisy=noisy + 1, time=time), before)
    assert not torch.allclose(head(hidden, noisy=noisy, time=1 - time), before)


def test_blocks_do_not_mix(head):
    hidden, noisy, time = inputs(3, 4)
    torch.nn.init.normal_(head.out.weight)
    whole = head(hidden, noisy=noisy, time=time)
    torch.testing.assert_close(head(hidden[1], noisy=noisy[1], time=time[1]), whole[1])


def test_the_stop_head_does_not_shape_the_hidden_states():
    stop, hidden = StopHead(16), torch.randn(2, 4, 16, requires_grad=True)
    stop(hidden).sum().backward()
    assert hidden.grad is None and stop.mlp[1].weight.grad is not None
