"""What only a CUDA device can show."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from benchmarks.gpu.attention import errors, training_sequence
from calm.generation import AudioCALM
from calm.generation.config import SamplerConfig
from calm.model.compiled import compile_passes
from tests.factory import tiny_batch, tiny_generator

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: FlexAttention trains on CUDA only, and graphs are its own"),
]


@pytest.mark.parametrize("model", ["ar_flow", "head_flow"])
def test_flex_attention_gives_the_loss_and_the_gradients_of_the_dense_mask(model):
    losses, gradients = [], []
    for attention in ("dense", "flex"):
        root = tiny_generator(model).cuda()
        root.config = dataclasses.replace(root.config, attention=attention)
        loss = root.losses(tiny_batch([0, 1, 2], reference_frames=4).to("cuda"), generator=torch.Generator())["loss"]
        loss.backward()
        losses.append(loss.detach())
        gradients.append(root.backbone.layers[0].self_attn.q_proj.weight.grad)
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-2, atol=1e-4)


def test_flex_attention_is_as_exact_as_the_dense_mask():
    torch.backends.cuda.matmul.allow_tf32 = False
    rows = training_sequence(clips=2, frames=256, device="cuda")
    found = errors(rows, dtype=torch.bfloat16)
    for name in ("output_max", "output_mean", "gradients_mean"):
        assert found["flex"][name] <= 2 * found["dense"][name]
    assert errors(rows, dtype=torch.float32)["flex"]["output_max"] <= 1e-5


@pytest.mark.parametrize("model", ["ar_flow", "head_flow"])
def test_passes_replayed_as_graphs_equal_the_eager_ones_in_one_request_after_another(model):
    sampler = SamplerConfig(num_steps=3)
    plain = AudioCALM(tiny_generator(model).cuda(), sampler=sampler)
    torch._dynamo.reset()
    graphs = AudioCALM(compile_passes(tiny_generator(model).cuda()), sampler=sampler)
    counters = torch._dynamo.utils.counters
    for seed in (1, 2, 3):
        asked = {"task": "sound", "duration": 0.1, "seed": seed}
        (ours,), (theirs,) = (x.generate("A bell rings.", **asked) for x in (graphs, plain))
        torch.testing.assert_close(ours.latents, theirs.latents, rtol=0, atol=1e-3)
        if seed == 1:
            compiled = counters["stats"]["unique_graphs"]
    assert counters["stats"]["unique_graphs"] == compiled
    assert not counters["inductor"]["cudagraph_skips"]
