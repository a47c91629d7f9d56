"""Fewer operations, the same numbers."""

from __future__ import annotations

import torch

from calm.backbone.fused import fuse
from tests.factory import tiny_generator, tiny_prompt


def test_fused_layers_compute_what_their_layers_do():
    plain, fused = tiny_generator().double(), tiny_generator().double()
    fuse(fused.backbone)
    names = {name.split(".")[-2] for name in fused.backbone.state_dict() if "_proj." in name}
    assert names == {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}
    random, found = torch.Generator().manual_seed(0), []
    block, noisy = torch.randn(2, 2, 3, 4, generator=random, dtype=torch.float64)
    with torch.no_grad():
        for root in (plain, fused):
            branch = root.open(tiny_prompt(root, [0, 1], num_text=[7, 3], num_reference=[5, 0]), block_size=3)
            stop = branch.append(block)
            found.append((stop, branch.velocity(noisy, torch.tensor([0.2, 0.7], dtype=torch.float64))))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
