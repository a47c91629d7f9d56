"""VGGish: the front end of the original, and weights by their published names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from calm.errors import CheckpointError, ConfigError
from calm.scorers.vggish import VGGish, VGGishNetwork, log_mel_examples
from tests.scorer_models import noise, save_vggish, tone

#: what `vggish-10086976.pth` holds
PUBLISHED = {
    "features.0.weight": (64, 1, 3, 3),
    "features.0.bias": (64,),
    "features.3.weight": (128, 64, 3, 3),
    "features.3.bias": (128,),
    "features.6.weight": (256, 128, 3, 3),
    "features.6.bias": (256,),
    "features.8.weight": (256, 256, 3, 3),
    "features.8.bias": (256,),
    "features.11.weight": (512, 256, 3, 3),
    "features.11.bias": (512,),
    "features.13.weight": (512, 512, 3, 3),
    "features.13.bias": (512,),
    "embeddings.0.weight": (4096, 12288),
    "embeddings.0.bias": (4096,),
    "embeddings.2.weight": (4096, 4096),
    "embeddings.2.bias": (4096,),
    "embeddings.4.weight": (128, 4096),
    "embeddings.4.bias": (128,),
}


def front_end(samples: np.ndarray) -> np.ndarray:
    """Frame by frame, with transformers' filters."""
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(257, 64, 125.0, 7500.0, 16_000, mel_scale="kaldi", triangularize_in_mel_space=True)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = []
    for start in range(0, len(samples) - 399, 160):
        magnitudes = np.abs(np.fft.rfft(samples[start : start + 400] * window, 512))
        frames.append(np.log(magnitudes @ filters + 0.01))
    return np.stack([frames[i : i + 96] for i in range(0, len(frames) - 95, 96)])


def test_the_front_end_equals_an_independent_computation():
    clip = noise(0, seconds=2.5)
    found = log_mel_examples(clip.audio[0]).numpy()
    assert found.shape == (2, 96, 64)
    np.testing.assert_allclose(found, front_end(clip.audio[0].double().numpy()), atol=1e-9)


def test_only_whole_examples_are_heard_and_a_short_clip_is_padded_to_one():
    audio = noise(0, seconds=3.0).audio[0]
    assert len(log_mel_examples(audio[:15_600])) == 1
    assert len(log_mel_examples(audio[: 15_600 + 96 * 160 - 1])) == 1
    assert len(log_mel_examples(audio[: 15_600 + 96 * 160])) == 2
    short = audio[:4000]
    padded = torch.cat([short, torch.zeros(11_600)])
    assert torch.equal(log_mel_examples(short), log_mel_examples(padded))


def test_the_full_network_has_the_published_names_and_shapes():
    with torch.device("meta"):
        network = VGGishNetwork()
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == PUBLISHED


def test_a_file_with_the_published_names_is_heard_as_the_original_hears_it(tmp_path):
    state = torch.load(save_vggish(tmp_path) / "vggish-10086976.pth", weights_only=True)
    clip = noise(1, seconds=2.0)
    found = torch.tensor(front_end(clip.audio[0].double().numpy())).float()[:, None]
    for index, pooled in [(0, True), (3, True), (6, False), (8, True), (11, False), (13, True)]:
        weight, bias = state[f"features.{index}.weight"], state[f"features.{index}.bias"]
        found = functional.conv2d(found, weight, bias, padding=1).relu()
        found = functional.max_pool2d(found, 2) if pooled else found
    found = found.transpose(1, 3).transpose(1, 2).reshape(len(found), -1)
    for index in (0, 2, 4):
        found = functional.linear(found, state[f"embeddings.{index}.weight"], state[f"embeddings.{index}.bias"])
        found = found if index == 4 else found.relu()
    embedder = VGGish(folder=tmp_path)
    np.testing.assert_allclose(embedder.embed(clip), found.numpy(), rtol=1e-4, atol=1e-5)
    assert (embedder.embed(clip) < 0).any(), "the last ReLU must not be there"
    np.testing.assert_array_equal(embedder.embed(clip), embedder.embed(clip))
    np.testing.assert_array_equal(embedder.embed(tone(300)).shape, (1, 128))


def test_what_a_figure_depends_on_is_described(tmp_path):
    described = VGGish(folder=save_vggish(tmp_path)).describe()
    assert described["scorer"] == "vggish" and described["sample_rate"] == 16_000
    assert len(described["sha256"]) == 64 and described["file"] == "vggish-10086976.pth"
    assert str(tmp_path) not in str(described)


def test_missing_and_foreign_weights_are_told_apart(tmp_path):
    with pytest.raises(ConfigError, match=r"vggish-10086976\.pth is an asset"):
        VGGish()
    with pytest.raises(ConfigError, match=r"The folder lacks vggish-10086976\.pth"):
        VGGish(folder=tmp_path)
    torch.save({"something": torch.ones(2)}, tmp_path / "vggish-10086976.pth")
    with pytest.raises(CheckpointError, match="no weights of VGGish"):
        VGGish(folder=tmp_path)
