"""What every expert must do."""

from __future__ import annotations

import itertools

import pytest
import torch

from calm.errors import ConfigError
from calm.registry import build, names


@pytest.fixture(params=names("expert"))
def expert(request):
    expert = build("expert", request.param, dim=16, ffn_dim=24, num_layers=4)
    expert.config_name = request.param
    return expert


def calls(expert):
    return itertools.product(expert.layers, expert.tasks)


def test_it_starts_as_an_exact_zero_in_every_layer_and_task(expert):
    rows = torch.randn(5, 16)
    assert all(torch.equal(expert(layer, rows, task), torch.zeros(5, 16)) for layer, task in calls(expert))


def test_no_rows_give_zero_gradients_to_every_weight(expert):
    sum(expert(layer, torch.empty(0, 16), task).sum() for layer, task in calls(expert)).backward()
    assert all(p.grad is not None and not p.grad.any() for p in expert.parameters())


def test_no_weight_serves_two_tasks_or_two_layers(expert):
    seen: list[str] = []
    for layer, task in calls(expert):
        expert.zero_grad()
        expert(layer, torch.ones(2, 16), task).sum().backward()
        seen += [name for name, p in expert.named_parameters() if p.grad is not None]
    assert sorted(seen) == sorted(name for name, _ in expert.named_parameters())


def test_a_model_starts_from_the_same_weights_with_and_without_it(expert):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        plain = torch.nn.Linear(4, 4).weight
        torch.manual_seed(3)
        build("expert", expert.config_name, dim=16, ffn_dim=24, num_layers=4)
        assert torch.equal(torch.nn.Linear(4, 4).weight, plain)


def test_its_start_is_a_function_of_the_seed(expert):
    def first(seed: int):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return next(build("expert", expert.config_name, dim=16, ffn_dim=24, num_layers=4).parameters())

    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))


def test_it_names_the_tasks_it_serves(expert):
    assert expert.tasks and all(str(task) in ("speech", "sound", "music") for task in expert.tasks)


@pytest.mark.parametrize(("layers", "chosen"), [("all", {0, 1, 2, 3}), ("every_2", {1, 3}), ("last_half", {2, 3})])
def test_layers_are_chosen_by_name(layers, chosen):
    expert = build("expert", {"name": "speech_ffn", "layers": layers}, dim=16, ffn_dim=24, num_layers=4)
    assert expert.layers == chosen


def test_a_choice_without_any_layer_is_refused():
    with pytest.raises(ConfigError, match="has none of"):
        build("expert", {"name": "speech_ffn", "layers": "every_4"}, dim=16, ffn_dim=24, num_layers=2)


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan")])
def test_a_width_that_is_none_is_refused(ratio):
    with pytest.raises(ConfigError, match="width_ratio"):
        build("expert", {"name": "symmetric_ffn", "width_ratio": ratio}, dim=16, ffn_dim=24, num_layers=2)


def test_symmetric_experts_are_one_speech_expert_for_each_task():
    sizes = {"dim": 16, "ffn_dim": 24, "num_layers": 4}
    one, three = (sum(p.numel() for p in build("expert", n, **sizes).parameters()) for n in ("speech_ffn", "symmetric_ffn"))
    assert three == 3 * one


def test_none_means_no_expert():
    assert build("expert", "none", dim=16, ffn_dim=24, num_layers=4) is None
