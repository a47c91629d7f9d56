"""The kernels of attention agree, and the device chooses between them."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention

from calm.backbone import attention
from calm.model.ar_flow import ARFlow
from calm.sequence import allow, block_mask, prefix_rows, training_rows


def rows_of_a_batch():
    prefix = prefix_rows(
        num_reference=torch.tensor([2, 0]), num_text=torch.tensor([3, 4]), reference_length=2, text_length=4
    )
    start, valid = torch.tensor([5, 4]), torch.tensor([6, 3])
    return training_rows(prefix, start=start, num_blocks=2, block_size=3, num_valid=valid, num_copies=2)


@pytest.mark.parametrize("head_dim", [4, 16])
def test_flex_attention_under_the_mask_is_dense_attention_for_any_width_of_heads(head_dim, monkeypatch):
    # Compiled it needs CUDA; as it is, it is the same function.
    monkeypatch.setattr(attention, "_flex_attention", lambda: flex_attention)
    rows, random = rows_of_a_batch(), torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, heads, len(rows), head_dim, generator=random, dtype=torch.float64) for heads in (4, 2, 2))
    found = attention.attend(q, k, v, block_mask(rows))
    torch.testing.assert_close(found, attention.attend(q, k, v, allow(rows, rows)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("asked", "device", "num_rows", "kernel"),
    [
        ("auto", "cuda", 8000, "flex"),
        ("auto", "cuda", 700, "dense"),
        ("auto", "cpu", 8000, "dense"),
        ("auto", "mps", 8000, "dense"),
        ("dense", "cuda", 8000, "dense"),
        ("flex", "cuda", 700, "flex"),
    ],
)
def test_device_and_length_choose_the_kernel_of_training_unless_one_is_named(asked, device, num_rows, kernel):
    assert ARFlow.Config(attention=asked).kernel(device, num_rows=num_rows) == kernel
