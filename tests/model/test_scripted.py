"""Packed models run as TorchScript where torch can do it, with the numbers of their modules."""

from __future__ import annotations

import copy
import threading
import warnings

import pytest
import torch
from torch import nn

from calm.backbone.cache import Cache
from calm.backbone.fused import FusedLayer
from calm.model.packed import PACKED, missing
from calm.model.precision import set_precision
from calm.scripted import Scripted
from tests.factory import tiny_generator, tiny_prompt

HERE = [name for name in PACKED if name != "bf16" and missing(name) is None]


def numbers(model) -> list[torch.Tensor]:
    """Velocities and stop logits of two requests over two blocks."""
    draw, found = torch.Generator().manual_seed(0), []
    with torch.no_grad():
        branch = model.open(tiny_prompt(model, [0, 1], num_text=[7, 3], num_reference=[5, 0]), block_size=3)
        for _ in range(2):
            noisy, block = torch.randn(2, 2, 3, 4, generator=draw)
            found += [branch.velocity(noisy, torch.tensor([0.2, 0.7])), branch.append(block)]
    return found


def scripts(model) -> list:
    """What layers and head call."""
    layers = [module for module in model.backbone.modules() if isinstance(module, FusedLayer)]
    return [*(step for layer in layers for step in layer._steps), model.head._scripted]


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("root", ["ar_flow", "head_flow"])
def test_scripted_layers_have_the_numbers_of_the_layers_that_they_are(root, name, monkeypatch):
    fast = set_precision(tiny_generator(root), name)
    assert all(step.fast for step in scripts(fast))
    with monkeypatch.context() as patch:
        patch.setattr(torch.jit, "script", refuse)
        plain = set_precision(tiny_generator(root), name)
    assert not any(step.fast for step in scripts(plain))
    # Attention is scripted once for all, and angles that are kept would be wrong in both.
    plain.cache_type, plain.backbone.angles = Cache, plain.backbone.angles._make
    for ours, theirs in zip(numbers(fast), numbers(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def refuse(code):
    raise RuntimeError("no TorchScript here")


def test_what_cannot_be_scripted_stays_as_it_is(monkeypatch):
    layer, x = nn.Linear(2, 3), torch.ones(2)
    monkeypatch.setattr(torch.jit, "script", refuse)
    assert not Scripted(layer).fast and torch.equal(Scripted(layer)(x), layer(x))


@pytest.mark.skipif(not HERE, reason="no packed layers on this CPU")
def test_models_that_are_packed_in_several_threads_are_all_scripted_and_leave_warnings_as_they_were():
    models, start, filters = [tiny_generator() for _ in range(4)], threading.Barrier(4), list(warnings.filters)

    def pack(model):
        start.wait()
        set_precision(model, HERE[0])

    threads = [threading.Thread(target=pack, args=(model,)) for model in models]
    for step in (threading.Thread.start, threading.Thread.join):
        for thread in threads:
            step(thread)
    assert all(step.fast for model in models for step in scripts(model))
    assert warnings.filters == filters


@pytest.mark.parametrize("name", HERE)
def test_a_scripted_model_can_be_copied(name):
    model = set_precision(tiny_generator(), name)
    copied = copy.deepcopy(model)
    assert all(step.fast for step in scripts(copied)) and copied.head._scripted is not model.head._scripted
    assert copied.backbone.layers[0]._steps[0]._code is copied.backbone.layers[0].before
    for ours, theirs in zip(numbers(copied), numbers(model), strict=True):
        assert torch.equal(ours, theirs)


def test_bf16_which_may_be_compiled_is_not_scripted():
    assert not any(isinstance(step, Scripted) for step in scripts(set_precision(tiny_generator(), "bf16")))
