"""FlexAttention against the dense mask: errors from float64, and time of forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.timing import medians
from calm.backbone.attention import attend
from calm.sequence import Rows, allow, block_mask, prefix_rows, training_rows

__all__ = ["attention", "errors", "training_sequence"]

#: of the 1.7 B body
HEADS, KV_HEADS, HEAD_DIM = 16, 8, 128
BLOCK, TEXT = 8, 64


def training_sequence(*, clips: int, frames: int, device: str, text: int = TEXT) -> Rows:
    """Rows of a doubled sequence: text, clean blocks, one noisy copy; every second clip is a quarter shorter."""
    lengths = torch.full((clips,), text, device=device)
    prefix = prefix_rows(num_reference=torch.zeros_like(lengths), num_text=lengths, reference_length=0, text_length=text)
    valid = torch.tensor([frames if i % 2 == 0 else frames - frames // 4 for i in range(clips)], device=device)
    return training_rows(
        prefix, start=lengths, num_blocks=frames // BLOCK, block_size=BLOCK, num_valid=valid, num_copies=1
    )


def draw(rows: Rows, *, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Queries, keys and values of the body's shape, and a gradient of what attention returns."""
    (batch, length), device = rows.kind.shape, rows.kind.device
    make = torch.Generator(device).manual_seed(0)
    heads = (HEADS, KV_HEADS, KV_HEADS, HEADS)
    like = {"generator": make, "device": device, "dtype": torch.float64}
    return tuple(torch.randn(batch, h, length, HEAD_DIM, **like).to(dtype) for h in heads)


def errors(rows: Rows, *, dtype: torch.dtype) -> dict[str, dict[str, float]]:
    """Largest and mean error of output and gradients from float64 on the same (rounded) numbers, by kernel."""
    given = draw(rows, dtype=dtype)
    dense = allow(rows, rows)
    true = _results([x.double() for x in given], dense)
    found = {}
    for name, mask in (("dense", dense), ("flex", block_mask(rows))):
        wrong = [(ours.double() - right).abs() for ours, right in zip(_results(given, mask), true, strict=True)]
        found[name] = {
            "output_max": float(wrong[0].max()), "output_mean": float(wrong[0].mean()),
            "gradients_max": max(float(x.max()) for x in wrong[1:]), "gradients_mean": sum(float(x.mean()) for x in wrong[1:]) / 3,
        }  # fmt: skip
    return found


def _results(given: list[Tensor], mask: Any) -> list[Tensor]:
    q, k, v = (x.detach().requires_grad_() for x in given[:3])
    out = attend(q, k, v, mask)
    return [out.detach(), *torch.autograd.grad(out, (q, k, v), given[3])]


def attention(*, device: str, rounds: int, small: bool) -> dict[str, Any]:
    """Errors in bfloat16 and float32 (TF32 off), and seconds by length: kernels alone, and making the mask."""
    torch.backends.cuda.matmul.allow_tf32 = False
    rows = training_sequence(clips=2, frames=64 if small else 512, device=device)
    types = {"bfloat16": torch.bfloat16, "float32": torch.float32}
    found: dict[str, Any] = {"errors": {name: errors(rows, dtype=dtype) for name, dtype in types.items()}, "seconds": {}}
    for clips, frames in ((2, 64),) if small else ((16, 256), (8, 1024), (2, 4096)):
        rows = training_sequence(clips=clips, frames=frames, device=device)
        found["seconds"][f"{clips} x (64 + 2 x {frames})"] = medians(_jobs(rows), device=device, rounds=rounds)
    return found


def _jobs(rows: Rows) -> dict[str, Callable[[], object]]:
    given = draw(rows, dtype=torch.bfloat16)
    dense, flex = allow(rows, rows), block_mask(rows)
    return {
        "dense": lambda: _results(given, dense),
        "flex": lambda: _results(given, flex),
        "dense mask": lambda: allow(rows, rows),
        "flex mask": lambda: block_mask(rows),
    }
