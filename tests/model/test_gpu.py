"""What only a CUDA device can show."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.factory import tiny_batch, tiny_generator

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: FlexAttention trains on CUDA only"),
]


@pytest.mark.parametrize("model", ["ar_flow", "head_flow"])
def test_flex_attention_gives_the_loss_and_the_gradients_of_the_dense_mask(model):
    losses, gradients = [], []
    for attention in ("dense", "auto"):
        root = tiny_generator(model).cuda()
        root.config = dataclasses.replace(root.config, attention=attention)
        loss = root.losses(tiny_batch([0, 1, 2], reference_frames=4).to("cuda"), generator=torch.Generator())["loss"]
        loss.backward()
        losses.append(loss.detach())
        gradients.append(root.backbone.layers[0].self_attn.q_proj.weight.grad)
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-2, atol=1e-4)
