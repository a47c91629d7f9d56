"""Exported weights: what goes out comes back, and what does not fit is refused with a reason."""

from __future__ import annotations

import pytest
import torch

from calm.config import load_config
from calm.errors import CalmError, CheckpointError
from calm.generation import AudioCALM
from calm.model.build import build_model
from calm.model.checkpoint import load_config_of, load_into, save_pretrained

TINY = ["model=ar_flow", "vae=tiny", "backbone=tiny", "head=rectified_flow", "expert=speech_ffn"]


@pytest.fixture
def export(tmp_path):
    config = load_config([*TINY, "name=tiny"])
    model = build_model(config)
    return save_pretrained(tmp_path / "export", model=model, config=config), model, config


def test_what_is_saved_comes_back_bit_identical(export):
    folder, model, config = export
    loaded = AudioCALM.from_pretrained(folder, device="cpu")
    assert loaded.name == "tiny" and loaded.model.config == config.model
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor)


def test_half_precision_halves_the_file_and_loads_into_float32(export, tmp_path):
    folder, model, config = export
    half = save_pretrained(tmp_path / "half", model=model, config=config, dtype=torch.float16)
    sizes = [(f / "model.safetensors").stat().st_size for f in (half, folder)]
    assert sizes[0] < 0.6 * sizes[1]
    assert AudioCALM.from_pretrained(half, device="cpu").model.null_text.dtype == torch.float32


def test_a_generator_s_export_serves_as_a_vae_checkpoint(export):
    folder, model, _ = export
    other = build_model(load_config([*TINY, f"vae_ckpt_path={folder}", "seed=1"]))
    for name, tensor in model.vae.state_dict().items():
        assert torch.equal(other.vae.state_dict()[name], tensor)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("backbone.dim=64", r"is \(32,\), not \(64,\)"),
        ("backbone.num_layers=3", "is missing"),
        ("backbone.num_layers=1", "has no place"),
        ("expert=none", "has no place"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(export, change, said):
    folder, *_ = export
    with pytest.raises(CheckpointError, match=said):
        load_into(build_model(load_config([*TINY, change])), folder)


def test_a_damaged_or_missing_file_is_one_clear_error(export, tmp_path):
    folder, *_ = export
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        AudioCALM.from_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"There is no model"):
        AudioCALM.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"No config\.yaml"):
        AudioCALM.from_pretrained(tmp_path / "empty")


def test_a_failed_save_leaves_the_old_file_and_no_other(export, monkeypatch):
    folder, model, config = export
    before = (folder / "model.safetensors").read_bytes()

    def full(tensors, path, **_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("calm.model.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space"):
        save_pretrained(folder, model=model, config=config)
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(f.name for f in folder.iterdir()) == ["config.yaml", "model.safetensors"]


def test_a_downloaded_checkpoint_does_not_choose_what_code_runs(export):
    folder, *_ = export
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("imports: []", "imports: [antigravity]"))
    with pytest.raises(CalmError, match="asks to import antigravity"):
        load_config_of(folder)


def test_a_vae_stage_does_not_generate(tmp_path):
    config = load_config(["model=vae_stage", "vae=tiny", "adversary=none"])
    folder = save_pretrained(tmp_path, model=build_model(config), config=config)
    with pytest.raises(CheckpointError, match="does not generate"):
        AudioCALM.from_pretrained(folder, device="cpu")


@pytest.mark.parametrize("change", ["vae.look_ahead_frames=2", "vae.sample_rate=8000"])
def test_a_vae_that_differs_where_shapes_do_not_show_it_is_refused(export, change):
    folder, *_ = export
    key = change.split("=")[0]
    with pytest.raises(CheckpointError, match=key):
        build_model(load_config([*TINY, f"vae_ckpt_path={folder}", change]))


def test_a_pretrained_model_with_another_rotary_base_is_refused(export):
    folder, *_ = export
    with pytest.raises(CheckpointError, match=r"backbone\.rope_base: 10000\.0 there, 500\.0 here"):
        build_model(load_config([*TINY, f"pretrained_ckpt_path={folder}", "backbone.rope_base=500"]))
