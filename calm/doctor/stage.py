"""Work and memory of a VAE's training step, counted on the meta device: every operation happens, on shapes alone.

FLOPs are those of products: convolutions, linear layers, attention; Fourier transforms and norms are left out
(torch.utils.flop_counter). Bytes are those that autograd keeps until the backward pass, in float32: a mixed precision
keeps less.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from calm.config import RunConfig
from calm.model.build import NoInitialization, build_outline
from calm.model.checkpoint import without_weights
from calm.part import Part
from calm.types import Batch

__all__ = ["StepCount", "count_clip", "stage_work"]

NEVER = 2**62


@dataclass(frozen=True, kw_only=True)
class StepCount:
    """One clip, forward and backward: operations, and bytes that autograd keeps in between."""

    flops: float
    kept_bytes: int


def stage_work(config: RunConfig) -> list[tuple[int, StepCount]]:
    """Return the stretches of a VAE stage: (optimizer steps, count of one clip), in order.

    They differ in whether the adversary takes part, and whether the encoder is still trained.
    """
    model, total = config.model, config.trainer.max_steps
    start = NEVER if config.adversary is None else model.adversary_start_step
    freeze = NEVER if model.freeze_encoder_step is None else model.freeze_encoder_step
    edges = sorted({0, total, *(edge for edge in (start, freeze) if 0 < edge < total)})
    return [
        (last - first, count_clip(config, has_adversary=first >= start, is_frozen=first >= freeze))
        for first, last in itertools.pairwise(edges)
    ]


def count_clip(config: RunConfig, *, has_adversary: bool, is_frozen: bool) -> StepCount:
    """Count one clip of a VAE stage with or without its adversary, with a trained or a frozen encoder."""
    phase = {"adversary_start_step": 0 if has_adversary else NEVER, "freeze_encoder_step": 0 if is_frozen else None}
    # The stage cuts its crops by random numbers, which have no values here: the clip is as long as a crop.
    model = dataclasses.replace(config.model, crop_seconds=None, **phase)
    with NoInitialization():
        root = build_outline(without_weights(dataclasses.replace(config, model=model))).to("meta").train()
    seconds = config.model.crop_seconds or config.data.crop_seconds or config.data.max_seconds
    return _count(root, _clip(root, seconds=seconds))


def _count(root: Part, batch: Batch) -> StepCount:
    weights = {parameter.untyped_storage()._cdata for parameter in root.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        # By storage: a view keeps what it is a view of, once. The tensor is held, so that no address comes twice.
        if (storage := tensor.untyped_storage()._cdata) not in weights:
            kept.setdefault(storage, tensor)
        return tensor

    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _backward_flops}) as counter:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = root.losses(batch)["loss"]
        loss.backward()
    return StepCount(
        flops=counter.get_total_flops(), kept_bytes=sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    )


def _backward_flops(
    output: list[int], inputs: list[int], weight: list[int], *options: Any, out_shape: Any = None, **_: Any
) -> int:
    """Operations of a convolution's backward pass: those of its forward pass for each of the two gradients.

    torch's own count takes grouped convolutions for dense ones where it comes to the gradient of the weights.
    """
    is_transposed, wanted = options[4], options[7]
    places = math.prod((inputs if is_transposed else output)[2:])
    return 2 * inputs[0] * places * math.prod(weight) * sum(wanted[:2])


def _clip(root: Part, *, seconds: float) -> Batch:
    vae = root.vae
    samples = max(1, round(seconds * vae.sample_rate / vae.hop)) * vae.hop

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Any:
        return torch.empty(*shape, dtype=dtype, device="meta")

    count = empty(1, dtype=torch.int64)
    return Batch(
        audio=empty(1, vae.channels, samples),
        num_samples=count,
        complete=empty(1, dtype=torch.bool),
        task=count,
        text=empty(1, 0, dtype=torch.int64),
        num_text=count,
        reference=empty(1, vae.channels, 0),
        num_reference=count,
        keys=("clip",),
    )
