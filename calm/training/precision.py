"""The precision `auto`: bfloat16 where the device multiplies in it, else float32."""

from __future__ import annotations

import torch

__all__ = ["has_fast_bfloat16", "precision_of"]


def precision_of(name: str, *, device: str) -> str:
    """Lightning's name of the precision that ``trainer.precision`` means on a type of device, "cpu" or "cuda"."""
    if name != "auto":
        return name
    return "bf16-mixed" if has_fast_bfloat16(device) else "32-true"


def has_fast_bfloat16(device: str) -> bool:
    """Whether products in bfloat16 are the device's own; a CPU without them takes many times as long as in float32.

    A CUDA device that is not here is taken for one that has them.
    """
    if device == "cpu":
        # Of x86 alone torch tells so much in all its versions; other CPUs stay in float32.
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)
