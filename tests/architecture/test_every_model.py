"""Interchange: one behaviour for every registered model that generates."""

from __future__ import annotations

import pytest
import torch

from calm import AudioCALM
from calm.model.generator import Generator
from calm.registry import lookup, names
from tests.factory import HEADS, tiny_batch, tiny_generator

MODELS = [name for name in names("model") if issubclass(lookup("model", name), Generator)]


def test_every_model_has_a_head_in_the_factory():
    assert set(MODELS) == set(HEADS)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_learns_from_a_mixed_batch(model):
    root = tiny_generator(model).train()
    losses = root.losses(tiny_batch([0, 1, 2], reference_frames=4), generator=torch.Generator().manual_seed(1))
    losses["loss"].backward()
    assert {"loss", "flow", "stop", "flow_speech", "flow_sound", "flow_music"} <= set(losses)
    assert all(value.ndim == 0 and value.isfinite() for value in losses.values())
    assert any(p.grad is not None and p.grad.any() for p in root.backbone.parameters())


@pytest.mark.parametrize("model", MODELS)
def test_a_loss_is_a_function_of_batch_and_generator(model):
    root = tiny_generator(model)
    first, second = (
        root.losses(tiny_batch([0, 1]), generator=torch.Generator().manual_seed(5))["loss"] for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("task", ["speech", "sound", "music"])
@pytest.mark.parametrize("model", MODELS)
def test_a_model_generates_the_requested_duration_and_streams_the_same(model, task):
    pipeline = AudioCALM(tiny_generator(model))
    options = {"task": task, "duration": 0.05, "steps": 2, "seed": 3}
    clip = pipeline.generate("A short prompt.", **options)[0]
    streamed = torch.cat([piece.audio for piece in pipeline.generate_streaming("A short prompt.", **options)], dim=-1)
    assert clip.audio.shape == (1, 800) and clip.finish_reason == "duration"
    torch.testing.assert_close(streamed, clip.audio, rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_works_without_an_expert(model):
    root = tiny_generator(model, expert="none")
    assert root.expert is None
    assert root.losses(tiny_batch([0, 1]), generator=torch.Generator().manual_seed(1))["loss"].isfinite()
