"""The decoder for other runtimes: one graph for all lengths, the same audio, a record that fits the file."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from calm.config import load_config
from calm.errors import CheckpointError, InputError
from calm.model.build import build_model, load_pretrained
from calm.model.checkpoint import save_pretrained
from calm.model.decoder_file import export_decoder
from calm.vae.stft_vae import StftVAE
from tests.factory import tiny_generator

LENGTHS = (1, 2, 7, 40, 133)
PITCH = ["vae.pitch_points=2", "vae.channels=2"]


def seeded(words):
    """A VAE stage with random weights everywhere, and latents that are neither centred nor of unit variance."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stage = build_model(load_config(["model=vae_stage", "vae=tiny", "name=small", *words]))
        with torch.no_grad():
            stage.vae.decoder.head.project.weight.normal_(std=0.1)
            stage.vae.latent_mean.normal_()
            stage.vae.latent_std.uniform_(0.5, 2)
    return stage.eval()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The folder of a model whose decoder has every part: two channels, harmonics."""
    folder = tmp_path_factory.mktemp("models") / "small"
    config = load_config(["model=vae_stage", "vae=tiny", "name=small", *PITCH])
    save_pretrained(folder, model=seeded(PITCH), config=config)
    return folder


@pytest.fixture(scope="module")
def pt2(small, tmp_path_factory):
    return export_decoder(small, tmp_path_factory.mktemp("exported") / "decoder.pt2", form="torch")


def compare(vae, run, *, tolerance):
    for num_frames in LENGTHS:
        latents = torch.randn(1, num_frames, vae.latent_dim, generator=torch.Generator().manual_seed(num_frames))
        expected = vae.to_audio(latents)
        found = run(latents)
        assert found.shape == expected.shape and expected.abs().max() > 1e-3
        assert (found - expected).abs().max() < tolerance * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("words", [[], PITCH, ["vae.look_ahead_frames=0"], ["vae.attention_window_frames=20", "vae.look_ahead_frames=3"]])
@torch.no_grad()
def test_the_whole_decoder_equals_the_stream_that_is_flushed(words):
    vae = seeded(words).vae
    compare(vae, vae.whole_decoder().eval(), tolerance=1e-5)


@torch.no_grad()
def test_the_torch_form_loads_by_torch_alone_and_takes_every_length(small, pt2):
    run = torch.export.load(pt2.path).module()
    compare(load_pretrained(small)[0].vae.eval(), run, tolerance=1e-4)


def test_the_onnx_form_runs_in_onnxruntime_at_every_length(small, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    done = export_decoder(small, tmp_path / "decoder.onnx", form="onnx")
    session = onnxruntime.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    run = lambda latents: torch.from_numpy(session.run(["audio"], {"latents": latents.numpy()})[0])  # noqa: E731
    compare(load_pretrained(small)[0].vae.eval(), run, tolerance=1e-4)
    assert [i.shape for i in session.get_inputs()] == [[1, "F", 8]]


def test_the_record_says_shapes_rates_and_hash_of_the_file(small, pt2):
    record = json.loads((pt2.path.parent / "decoder.pt2.json").read_text())
    assert record["sha256"] == hashlib.sha256(pt2.path.read_bytes()).hexdigest()
    assert record["model_sha256"] == hashlib.sha256((small / "model.safetensors").read_bytes()).hexdigest()
    facts = {"sample_rate": 16000, "channels": 2, "hop": 1280, "latent_dim": 8, "frame_rate": 12.5, "model": "small"}
    assert facts.items() <= record.items()
    assert (record["input"]["shape"], record["output"]["shape"]) == ([1, "F", 8], [1, 2, "F * 1280"])
    assert record["largest_error"] == pt2.largest_error <= 1e-4


def test_a_decoder_that_computes_something_else_is_not_written(small, tmp_path, monkeypatch):
    whole = StftVAE.whole_decoder

    def louder(self):
        decoder = whole(self)
        decoder.mean += 0.1
        return decoder

    monkeypatch.setattr(StftVAE, "whole_decoder", louder)
    with pytest.raises(CheckpointError, match="differs from the model"):
        export_decoder(small, tmp_path / "decoder.pt2", form="torch")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_ending_an_unknown_form_and_a_vae_without_the_form_are_one_message_each(small, tmp_path):
    with pytest.raises(InputError, match=r"does not end in \.onnx"):
        export_decoder(small, tmp_path / "decoder.pt2", form="onnx")
    with pytest.raises(InputError, match="allowed: torch, onnx"):
        export_decoder(small, tmp_path / "decoder.tflite", form="tflite")
    with pytest.raises(InputError, match="cannot be exported to another runtime"):
        super(StftVAE, tiny_generator("ar_flow").vae).whole_decoder()
