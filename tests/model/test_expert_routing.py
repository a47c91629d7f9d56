"""Experts: a no-op when switched on, free without rows of their tasks; A-MoME is never called for sound and music."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from calm.registry import build
from tests.factory import tiny_batch, tiny_generator, tiny_prompt

MODELS = ["ar_flow", "head_flow"]
EXPERTS = ["speech_ffn", "symmetric_ffn"]


class Calls:
    """Counts the rows that go through the expert, and for which tasks it is called."""

    def __init__(self, root) -> None:
        self.rows: list[int] = []
        self.tasks: list[str] = []
        root.expert.register_forward_pre_hook(self._note)

    def _note(self, module, inputs) -> None:
        self.rows.append(len(inputs[1]))
        self.tasks.append(str(inputs[2]))


def losses(root, tasks: list[int]) -> dict:
    batch = tiny_batch(tasks, reference_frames=4)
    return root.losses(batch, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", EXPERTS)
def test_a_fresh_expert_is_bit_identical_to_no_expert(model, name):
    root = tiny_generator(model)
    fresh = build("expert", name, dim=16, ffn_dim=24, num_layers=3)
    root.expert = fresh
    with_expert = losses(root, [0, 1, 2])["loss"]
    root.expert = None
    assert torch.equal(with_expert, losses(root, [0, 1, 2])["loss"])


@pytest.mark.parametrize("model", MODELS)
def test_each_symmetric_expert_changes_its_own_task_alone(model):
    root = tiny_generator(model, expert="symmetric_ffn")
    tasks = ["speech", "sound", "music"]
    before = losses(root, [0, 1, 2])
    for changed in tasks:
        weights = root.expert.ffns[changed]
        kept = [p.detach().clone() for p in weights.parameters()]
        with torch.no_grad():
            for p in weights.parameters():
                p.neg_()
        after = losses(root, [0, 1, 2])
        assert [t for t in tasks if after[f"flow_{t}"] != before[f"flow_{t}"]] == [changed]
        with torch.no_grad():
            for p, value in zip(weights.parameters(), kept, strict=True):
                p.copy_(value)


def test_symmetric_experts_of_equal_weights_are_one_expert_for_all_audio_rows():
    """Gathering by task and adding back once puts every row where it came from."""
    root = tiny_generator("ar_flow", expert="symmetric_ffn").double()
    for task in ("sound", "music"):
        root.expert.ffns[task].load_state_dict(root.expert.ffns["speech"].state_dict())
    batch = tiny_batch([2, 0, 1, 0], reference_frames=4)
    batch = dataclasses.replace(batch, audio=batch.audio.double(), reference=batch.reference.double())
    alike = dataclasses.replace(batch, task=torch.zeros_like(batch.task))
    mixed, single = (root.flow_terms(b, torch.Generator().manual_seed(0)).error for b in (batch, alike))
    torch.testing.assert_close(mixed, single, rtol=0, atol=1e-10)


@pytest.mark.parametrize("model", MODELS)
def test_an_ffn_without_rows_of_its_task_gets_zero_gradients(model):
    root = tiny_generator(model, expert="symmetric_ffn")
    losses(root, [0, 2])["loss"].backward()
    for task, learns in (("speech", True), ("sound", False), ("music", True)):
        gradients = [p.grad for p in root.expert.ffns[task].parameters()]
        assert all(g is not None and bool(g.any()) is learns for g in gradients)


@pytest.mark.parametrize("model", MODELS)
def test_a_trained_expert_changes_speech_and_leaves_sound_and_music_bit_identical(model):
    root = tiny_generator(model)
    on = losses(root, [0, 1, 2])
    root.expert = None
    off = losses(root, [0, 1, 2])
    assert on["flow_speech"] != off["flow_speech"]
    assert on["flow_sound"] == off["flow_sound"] and on["flow_music"] == off["flow_music"]


@pytest.mark.parametrize("model", MODELS)
def test_no_row_of_a_batch_without_speech_goes_through_the_expert_and_its_gradients_are_zero(model):
    root = tiny_generator(model)
    calls = Calls(root)
    losses(root, [1, 2])["loss"].backward()
    assert calls.rows == [0, 0, 0]
    assert all(p.grad is not None and not p.grad.any() for p in root.expert.parameters())


def test_exactly_the_audio_rows_of_speech_are_routed():
    root = tiny_generator("ar_flow", num_noisy_copies=2)
    calls = Calls(root)
    batch = tiny_batch([0, 1], reference_frames=4)
    losses(root, [0, 1])
    frames = 4 * math.ceil(math.ceil(batch.num_samples[0] / 32) / 4)
    assert calls.rows == [4 + 3 * frames] * 3


@pytest.mark.parametrize("name", EXPERTS)
def test_a_phase_without_the_expert_routes_nothing_but_keeps_zero_gradients(name):
    root = tiny_generator("ar_flow", expert=name)
    root.expert_enabled = False
    calls = Calls(root)
    losses(root, [0, 1])["loss"].backward()
    assert set(calls.rows) == {0}
    assert all(p.grad is not None and not p.grad.any() for p in root.expert.parameters())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("task", "called"), [(0, True), (1, False), (2, False)])
def test_generation_calls_the_expert_for_speech_only(model, task, called):
    root = tiny_generator(model)
    calls = Calls(root)
    with torch.no_grad():
        branch = root.open(tiny_prompt(root, [task], num_text=[5], num_reference=[0]), block_size=4)
        branch.velocity(torch.zeros(1, 4, 4), torch.zeros(1))
        branch.append(torch.zeros(1, 4, 4))
    assert bool(calls.rows) is called


def test_generation_calls_symmetric_experts_for_the_tasks_of_the_prompts_only():
    root = tiny_generator("ar_flow", expert="symmetric_ffn")
    calls = Calls(root)
    with torch.no_grad():
        branch = root.open(tiny_prompt(root, [2, 1], num_text=[5, 5], num_reference=[0, 0]), block_size=4)
        branch.velocity(torch.zeros(2, 4, 4), torch.zeros(2))
    assert set(calls.tasks) == {"sound", "music"} and set(calls.rows) == {4}


def test_every_weight_of_a_generator_but_the_vae_learns_and_belongs_to_one_group():
    root = tiny_generator("ar_flow").train()
    root.losses(tiny_batch([0, 1, 2], reference_frames=4), generator=torch.Generator().manual_seed(3))["loss"].backward()
    named = {name: p for name, p in root.named_parameters() if not name.startswith("vae.")}
    assert [name for name, p in named.items() if p.grad is None] == []
    assert all(p.grad is None for p in root.vae.parameters())
    grouped = [id(p) for group in root.param_groups() for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in named.values())
