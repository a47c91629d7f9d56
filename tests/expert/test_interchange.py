"""What every expert must do."""

from __future__ import annotations

import pytest
import torch

from calm.errors import ConfigError
from calm.registry import build, names


@pytest.fixture(params=names("expert"))
def expert(request):
    return build("expert", request.param, dim=16, ffn_dim=24, num_layers=4)


def test_it_starts_as_an_exact_zero_in_every_layer(expert):
    rows = torch.randn(5, 16)
    assert all(torch.equal(expert(layer, rows), torch.zeros(5, 16)) for layer in expert.layers)


def test_no_rows_give_zero_gradients_to_every_weight(expert):
    sum(expert(layer, torch.empty(0, 16)).sum() for layer in expert.layers).backward()
    assert all(p.grad is not None and not p.grad.any() for p in expert.parameters())


def test_it_names_the_tasks_it_serves(expert):
    assert expert.tasks and all(str(task) in ("speech", "sound", "music") for task in expert.tasks)


@pytest.mark.parametrize(("layers", "chosen"), [("all", {0, 1, 2, 3}), ("every_2", {1, 3}), ("last_half", {2, 3})])
def test_layers_are_chosen_by_name(layers, chosen):
    expert = build("expert", {"name": "speech_ffn", "layers": layers}, dim=16, ffn_dim=24, num_layers=4)
    assert expert.layers == chosen


def test_a_choice_without_any_layer_is_refused():
    with pytest.raises(ConfigError, match="has none of"):
        build("expert", {"name": "speech_ffn", "layers": "every_4"}, dim=16, ffn_dim=24, num_layers=2)


def test_none_means_no_expert():
    assert build("expert", "none", dim=16, ffn_dim=24, num_layers=4) is None
