"""The hash by which latents know their VAE, and loading a VAE from an export."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from calm.config import load_config
from calm.errors import CheckpointError
from calm.model.build import build_model
from calm.model.checkpoint import save_pretrained
from calm.model.trained_vae import load_vae, vae_hash
from calm.registry import build
from tests.factory import TINY_VAE, tiny_vae


def test_every_encoder_tensor_counts_and_the_decoder_and_statistics_do_not():
    vae = tiny_vae()
    before = vae_hash(vae)
    assert vae_hash(tiny_vae()) == before and len(before) == 64
    for name, tensor in vae.state_dict().items():
        if not tensor.is_floating_point():
            continue
        old = tensor.clone()
        tensor.add_(1.0)  # state_dict shares its memory with the VAE
        assert (vae_hash(vae) == before) == name.startswith(("decoder.", "latent_")), name
        tensor.copy_(old)
    assert vae_hash(vae) == before


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"encoder_dilations": (1, 3, 5)}, False),
        ({"sample_rate": 22050}, False),
        ({"look_ahead_frames": 2}, True),
        ({"decoder_width": 32}, True),
    ],
)
def test_settings_of_the_encoder_count_even_where_no_tensor_shows_them(change, same):
    vae, other = tiny_vae(), build("vae", {**TINY_VAE, **change})
    found = {name: t for name, t in vae.state_dict().items() if not name.startswith("decoder.")}
    other.load_state_dict(found, strict=False)
    assert (vae_hash(vae) == vae_hash(other)) == same


def test_a_vae_is_loaded_from_the_export_of_its_stage_and_of_a_generator(tmp_path):
    stage = load_config(["model=vae_stage", "vae=tiny", "adversary=none"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        root = build_model(stage)
        folder = save_pretrained(tmp_path / "stage", model=root, config=stage)
        config = load_config(["experiment=tiny", f"vae_ckpt_path={folder}"])
        generator = save_pretrained(tmp_path / "generator", model=build_model(config), config=config)
    for export in (folder, generator):
        vae = load_vae(export)
        assert vae_hash(vae) == vae_hash(root.vae) and not vae.training
        assert not any(p.requires_grad for p in vae.parameters())


def test_an_export_without_a_vae_is_refused(tmp_path):
    config = load_config(["model=vae_stage", "vae=tiny", "adversary=none"])
    folder = save_pretrained(tmp_path, model=torch.nn.Linear(1, 1), config=dataclasses.replace(config, vae=None))
    with pytest.raises(CheckpointError, match="no VAE"):
        load_vae(folder)
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        load_vae(tmp_path / "nowhere")
