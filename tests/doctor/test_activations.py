"""The analytic count of activations, against the tensors that autograd saves."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from calm.doctor.activations import BatchShape, activation_bytes
from calm.doctor.parameters import count_parameters
from calm.doctor.precision import Precision
from calm.model.generator import Generator
from calm.registry import build, lookup
from calm.types import Batch
from tests.factory import HEADS, TINY_VAE, tiny_batch

CLIPS, FRAMES, REFERENCE, TEXT = 4, 48, 8, 6
DIM, FFN, LAYERS = 128, 320, 2
SHAPE = BatchShape(clips=CLIPS, prefix=REFERENCE + TEXT, reference=REFERENCE, frames=FRAMES, speech=CLIPS)


def root_of(model: str, *, num_kv_heads: int = 4) -> Generator:
    """Large enough that the matrices outweigh what the formulas leave out."""
    sizes = {"dim": DIM, "num_layers": LAYERS, "num_heads": 4, "num_kv_heads": num_kv_heads, "ffn_dim": FFN}
    options = {"block_sizes": (4,), "num_noisy_copies": 2, "drop_all": 0, "drop_text": 0, "drop_reference": 0}
    root_class = lookup("model", model)
    vae = build("vae", TINY_VAE)
    return root_class(
        root_class.Config(**options),
        vae=vae,
        backbone=build("backbone", {"name": "transformer", **sizes}),
        head=build("head", HEADS[model], dim=DIM, latent_dim=vae.latent_dim),
        expert=build("expert", "speech_ffn", dim=DIM, ffn_dim=FFN, num_layers=LAYERS),
    ).train()


def full_batch() -> Batch:
    batch = tiny_batch([0] * CLIPS, frames=FRAMES, reference_frames=REFERENCE)
    return dataclasses.replace(batch, num_samples=torch.full((CLIPS,), FRAMES * 32))


def saved_bytes(root: Generator, *, autocast: bool) -> int:
    """Bytes of all storages that autograd keeps of one forward pass, weights and buffers left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*root.parameters(), *root.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in own:
            kept.setdefault(place, tensor)
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast),
    ):
        root.losses(full_batch())
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("num_kv_heads", [4, 2])
@pytest.mark.parametrize("model", ["ar_flow", "head_flow"])
def test_the_count_is_what_autograd_saves_within_five_percent(model, num_kv_heads, precision):
    root, kind = root_of(model, num_kv_heads=num_kv_heads), Precision.of(precision)
    sizes = count_parameters(root)
    copies = kind.products * (sizes.matrices - sizes.by_part["text"]) if kind.is_mixed else 0
    counted = activation_bytes(root, SHAPE, kind, device="cpu") + copies
    assert counted == pytest.approx(saved_bytes(root, autocast=kind.is_mixed), rel=0.05)


def test_the_count_grows_with_clips_and_with_the_square_of_dense_attention():
    root, kind = root_of("ar_flow"), Precision.of("bf16-mixed")
    one = activation_bytes(root, SHAPE, kind, device="cpu")
    assert activation_bytes(root, dataclasses.replace(SHAPE, clips=8, speech=8), kind, device="cpu") == 2 * one
    longer = dataclasses.replace(SHAPE, frames=8 * FRAMES)
    assert activation_bytes(root, longer, kind, device="cpu") > 8 * one


def test_cuda_needs_less_than_a_cpu_and_flex_less_than_a_dense_mask():
    root, kind = root_of("ar_flow"), Precision.of("bf16-mixed")
    kept = {"cpu": activation_bytes(root, SHAPE, kind, device="cpu")}
    for attention in ("flex", "dense"):
        root.config = dataclasses.replace(root.config, attention=attention)
        kept[attention] = activation_bytes(root, SHAPE, kind, device="cuda")
    assert kept["flex"] < kept["dense"] < kept["cpu"]


def test_a_backbone_of_unknown_layers_is_not_counted():
    root = root_of("ar_flow")
    root.backbone.layers = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    assert activation_bytes(root, SHAPE, Precision.of("32-true"), device="cpu") is None
