"""Compiled layers take the same steps as the layers as they are."""

import shutil

import pytest
import torch

from calm.errors import ConfigError
from calm.training.compilation import COMPILERS, compile_layers
from calm.training.config import TrainerConfig
from tests.factory import tiny_batch, tiny_generator
from tests.training.toy import toy_root

has_compiler = pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C++ compiler")


def gradients(model, tasks, *, frames=8):
    """Loss and gradients of one training step, whose randomness is always the same."""
    model.zero_grad()
    batch = tiny_batch(tasks, frames=frames, reference_frames=4, seed=1)
    loss = model.losses(batch, generator=torch.Generator().manual_seed(0))["loss"]
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@has_compiler
def test_compiled_layers_have_the_same_loss_gradients_and_names_and_are_used_in_training_only():
    model = tiny_generator("ar_flow").train()
    names = list(model.state_dict())
    # Speech, whose expert follows what is compiled, beside a task that has none.
    plain_loss, plain = gradients(model, [0, 1])
    compile_layers(model)
    counters = torch._dynamo.utils.counters
    counters.clear()
    with torch.no_grad():
        model.losses(tiny_batch([0, 1], frames=8), generator=torch.Generator().manual_seed(0))
    assert not counters["frames"]
    loss, compiled = gradients(model, [0, 1])
    torch.testing.assert_close(loss, plain_loss, atol=1e-5, rtol=1e-5)
    assert compiled.keys() == plain.keys() and list(model.state_dict()) == names
    for name, grad in plain.items():
        torch.testing.assert_close(compiled[name], grad, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    # Neither layers nor tasks have compilations of their own: torch gives up after eight, and says nothing.
    for tasks, frames in (([1, 2], 8), ([0, 0, 2], 12)):
        gradients(model, tasks, frames=frames)
    graphs = counters["stats"]["unique_graphs"]
    assert 1 <= graphs <= 3
    for tasks, frames in (([2, 1, 0], 20), ([1, 1, 2, 2], 16)):
        gradients(model, tasks, frames=frames)
    assert counters["stats"]["unique_graphs"] == graphs


def test_a_machine_without_a_compiler_is_told_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="C\\+\\+ compiler") as caught:
        compile_layers(tiny_generator("ar_flow"))
    assert "trainer.compile=none" in str(caught.value)


def test_a_root_without_layers_and_sharded_layers_are_refused():
    with pytest.raises(ConfigError, match=r"trainer\.compile"):
        compile_layers(toy_root())
    with pytest.raises(ConfigError, match="Sharded layers are not compiled"):
        TrainerConfig(compile="layers", strategy="fsdp")
