"""AudioSeal: weights from a folder in the published form, read as tensors only; random ones mark nothing, but run."""

from __future__ import annotations

import builtins
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from calm import registry
from calm.errors import CheckpointError, ConfigError
from calm.types import Waveform

loader = pytest.importorskip("audioseal.loader", reason="needs the extra [safety]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The networks of the published cards with random weights, under the published names."""
    folder = tmp_path_factory.mktemp("audioseal")
    for card, schema, create, name in (
        ("audioseal_wm_16bits", loader.AudioSealWMConfig, loader.create_generator, "generator_base.pth"),
        ("audioseal_detector_16bits", loader.AudioSealDetectorConfig, loader.create_detector, "detector_base.pth"),
    ):
        values = dict(loader.load_local_model_config(card))
        values.pop("checkpoint")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = create(loader.AudioSeal.parse_config(values, config_type=schema))
        state = {key.replace(".inner_conv", ""): value for key, value in network.state_dict().items()}
        torch.save({"model": state}, folder / name)
    return folder


def clip(samples: int = 4000) -> Waveform:
    noise = torch.rand(2, samples, generator=torch.Generator().manual_seed(0)) - 0.5
    return Waveform(audio=noise, sample_rate=22050)


def test_a_clip_of_another_rate_is_marked_and_looked_at(folder: Path) -> None:
    mark = registry.build("watermark", {"name": "audioseal", "folder": str(folder)})
    marked = mark.embed(clip())
    assert marked.audio.shape == (2, 4000) and marked.sample_rate == 22050
    assert not torch.equal(marked.audio, clip().audio)
    assert 0 <= mark.detect(marked).score <= 1


def test_messages_differ_and_silence_stays_silent(folder: Path) -> None:
    one, other = (registry.build("watermark", {"name": "audioseal", "folder": str(folder), "message": m}) for m in (0, 65535))
    assert not torch.equal(one.embed(clip(2000)).audio, other.embed(clip(2000)).audio)
    silence = Waveform(audio=torch.zeros(1, 9), sample_rate=16000)
    assert torch.equal(one.embed(silence).audio, silence.audio)


def test_weights_are_read_as_tensors_only(folder: Path, tmp_path: Path) -> None:
    for name in ("generator_base.pth", "detector_base.pth"):
        torch.save({"model": {"weight": builtins.print}}, tmp_path / name)
    with pytest.raises(CheckpointError, match="cannot be read"):
        registry.build("watermark", {"name": "audioseal", "folder": str(tmp_path)}).embed(clip())


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    for name in ("generator_base.safetensors", "detector_base.safetensors"):
        save_file({"weight": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(CheckpointError, match="not the weights of audioseal_wm_16bits"):
        registry.build("watermark", {"name": "audioseal", "folder": str(tmp_path)}).embed(clip())


def test_a_folder_without_the_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lacks generator_base\.safetensors or generator_base\.pth"):
        registry.build("watermark", {"name": "audioseal", "folder": str(tmp_path)})


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="hf download nobody/nothing"):
        registry.build("watermark", {"name": "audioseal", "repo": "nobody/nothing"})


@pytest.mark.parametrize("message", [-1, 65536])
def test_a_message_of_more_than_16_bits_is_refused(message: int) -> None:
    with pytest.raises(ConfigError, match="has no 16 bits"):
        registry.lookup("watermark", "audioseal").Config(message=message)
