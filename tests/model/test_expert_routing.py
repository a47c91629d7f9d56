"""A-MoME: a no-op when switched on, free without speech, never called for sound and music."""

from __future__ import annotations

import math

import pytest
import torch

from calm.registry import build
from tests.factory import tiny_batch, tiny_generator, tiny_prompt

MODELS = ["ar_flow", "head_flow"]


class Calls:
    """Counts the rows that go through the expert."""

    def __init__(self, root) -> None:
        self.rows: list[int] = []
        root.expert.register_forward_pre_hook(lambda module, inputs: self.rows.append(len(inputs[1])))


def losses(root, tasks: list[int]) -> dict:
    batch = tiny_batch(tasks, reference_frames=4)
    return root.losses(batch, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("model", MODELS)
def test_a_fresh_expert_is_bit_identical_to_no_expert(model):
    root = tiny_generator(model)
    fresh = build("expert", "speech_ffn", dim=16, ffn_dim=24, num_layers=3)
    root.expert = fresh
    with_expert = losses(root, [0, 1, 0])["loss"]
    root.expert = None
    assert torch.equal(with_expert, losses(root, [0, 1, 0])["loss"])


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


def test_a_phase_without_the_expert_routes_nothing_but_keeps_zero_gradients():
    root = tiny_generator("ar_flow")
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


def test_every_weight_of_a_generator_but_the_vae_learns_and_belongs_to_one_group():
    root = tiny_generator("ar_flow").train()
    root.losses(tiny_batch([0, 1, 2], reference_frames=4), generator=torch.Generator().manual_seed(3))["loss"].backward()
    named = {name: p for name, p in root.named_parameters() if not name.startswith("vae.")}
    assert [name for name, p in named.items() if p.grad is None] == []
    assert all(p.grad is None for p in root.vae.parameters())
    grouped = [id(p) for group in root.param_groups() for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in named.values())
