"""CLAP models from a folder in the layout of the hub."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from calm.errors import CheckpointError, ConfigError, InputError
from calm.scorers.clap import Clap
from calm.types import Waveform
from tests.scorer_models import noise, save_clap


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_clap(tmp_path_factory.mktemp("clap"))


@pytest.fixture(scope="module")
def clap(folder) -> Clap:
    return Clap(folder=folder)


def test_embeddings_of_audio_and_text_are_unit_vectors_that_differ(clap):
    audio = clap.embed(noise(0, seconds=2.0))
    assert audio.shape == (1, 12) and audio.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(audio, axis=1), 1, atol=1e-5)
    dog, rain = clap.embed_text("a dog barks"), clap.embed_text("rain falls on a roof")
    np.testing.assert_allclose([np.linalg.norm(dog), np.linalg.norm(rain)], 1, atol=1e-5)
    assert np.abs(dog - rain).max() > 1e-3


def test_they_are_those_of_transformers_own_call(clap, folder):
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    model, clip = ClapModel.from_pretrained(folder).eval(), noise(1, seconds=3.0, sample_rate=48_000)
    features = ClapFeatureExtractor.from_pretrained(folder)(clip.audio[0].numpy(), sampling_rate=48_000, return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(folder)(["a calm piano melody"], return_tensors="pt")
    with torch.no_grad():
        found = model(**tokens, **features)
    np.testing.assert_allclose(clap.embed(clip), found.audio_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(clap.embed_text("a calm piano melody"), found.text_embeds[0].numpy(), atol=1e-5)


def test_a_long_clip_is_heard_to_its_end_in_windows_of_ten_seconds_without_chance(clap):
    clip = noise(2, seconds=23.0, sample_rate=48_000)
    rows = clap.embed(clip)
    assert rows.shape == (3, 12)
    for row, start in zip(rows, (0, 10, 13), strict=True):
        window = Waveform(audio=clip.audio[:, start * 48_000 : (start + 10) * 48_000], sample_rate=48_000)
        np.testing.assert_allclose(row, clap.embed(window)[0], atol=1e-5)
    np.testing.assert_array_equal(rows, clap.embed(clip))
    assert len(clap.embed(Waveform(audio=clip.audio[:, : 20 * 48_000], sample_rate=48_000))) == 2


def test_a_long_caption_is_cut_and_an_empty_one_is_refused(clap):
    assert np.isfinite(clap.embed_text("a dog barks and " * 100)).all()
    with pytest.raises(InputError, match="caption is empty"):
        clap.embed_text("  ")


def test_what_a_figure_depends_on_is_described(clap, folder):
    described = clap.describe()
    assert described["window_seconds"] == 10 and described["sample_rate"] == 48_000
    assert described["file"] == "model.safetensors" and len(described["sha256"]) == 64
    assert str(folder) not in str(described)


def test_models_that_cannot_serve_are_refused_with_the_reason(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"The folder lacks config\.json"):
        Clap(folder=tmp_path / "none")
    fused = tmp_path / "fused"
    fused.mkdir()
    with pytest.raises(ConfigError, match="feature fusion"):
        Clap(folder=save_clap(fused, fusion=True))
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in folder.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    (damaged / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="no CLAP model"):
        Clap(folder=damaged)


def test_without_a_network_the_message_names_the_files_and_the_option(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"option `folder`") as caught:
        Clap(repo="owner/no-such-clap")
    assert "preprocessor_config.json" in str(caught.value) and "model.safetensors or pytorch_model.bin" in str(caught.value)
