import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from calm.errors import ConfigError
from calm.part import Part
from calm.training.config import OptimConfig, Phase
from calm.training.optim import build_optimizer, learning_rate, schedule
from tests.training.toy import toy_root

COSINE = OptimConfig(schedule="cosine", warmup_steps=10, min_lr_ratio=0.1)


def test_warm_up_rises_in_equal_steps_to_the_peak():
    factors = [schedule(COSINE, step=step, total_steps=100) for step in range(11)]
    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert factors[10] == 1


def test_the_cosine_falls_from_the_peak_to_its_end_and_stays_there():
    factors = [schedule(COSINE, step=step, total_steps=100) for step in range(10, 200)]
    assert all(a >= b for a, b in itertools.pairwise(factors))
    assert factors[45] == pytest.approx(0.55)
    assert factors[90:] == pytest.approx([0.1] * len(factors[90:]))


@given(step=st.integers(0, 10**7), total=st.integers(1, 10**6), warmup=st.integers(0, 10**5))
def test_no_step_has_a_factor_outside_zero_to_one(step, total, warmup):
    for kind in ("constant", "cosine"):
        factor = schedule(OptimConfig(schedule=kind, warmup_steps=warmup), step=step, total_steps=total)
        assert 0 < factor <= 1


def test_factors_of_part_and_phase_multiply():
    config = OptimConfig(learning_rate=1.0, warmup_steps=0, lr_factors={"backbone": 0.5})
    phase = Phase(expert="off", lr_factors={"backbone": 0.5, "head": 0.1})
    rates = [learning_rate(config, part=part, phase=phase, step=0, total_steps=1) for part in ("backbone", "head", "audio", "expert")]
    assert rates == [0.25, 0.1, 1.0, 0.0]


def test_every_trained_parameter_has_one_group_and_only_matrices_decay():
    root = toy_root()
    optimizer = build_optimizer(root, OptimConfig(weight_decay=0.1))
    grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in root.parameters() if p.requires_grad)
    for group in optimizer.param_groups:
        assert all((p.ndim >= 2) == (group["weight_decay"] > 0) for p in group["params"])
    assert {group["part"] for group in optimizer.param_groups} == {"backbone", "expert", "head"}


def test_a_model_without_anything_to_train_is_refused():
    class Frozen(Part):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2).requires_grad_(False)

    with pytest.raises(ConfigError, match="no parameter to train"):
        build_optimizer(Frozen(), OptimConfig())


def test_a_parameter_without_gradient_is_left_alone_by_the_step():
    # NonFiniteGuard and the curriculum rely on it.
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5)
    weight.grad = torch.ones(2, 2)
    optimizer.step()
    before = weight.detach().clone()
    weight.grad = None
    optimizer.step()
    assert torch.equal(weight, before)
