"""CNN14 of PANNs: the published checkpoint's names, front end and network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from calm.errors import CheckpointError, ConfigError
from calm.scorers.optional import need
from calm.scorers.panns import Cnn14, Panns
from tests.scorer_models import noise, save_cnn14, tone


def as_published(state: dict[str, torch.Tensor], samples: torch.Tensor, *, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """Embedding and logits, written from the paper's code: Fourier transform by convolution, functional layers."""
    real, imaginary = (state[f"spectrogram_extractor.stft.conv_{part}.weight"] for part in ("real", "imag"))
    padded = functional.pad(samples[None, None], (real.shape[-1] // 2,) * 2, mode="reflect")
    energies = functional.conv1d(padded, real, stride=hop).square() + functional.conv1d(padded, imaginary, stride=hop).square()
    mel = energies[0].T @ state["logmel_extractor.melW"]
    found = (10 * torch.log10(mel.clamp(min=1e-10)))[None, None]  # [1, 1, N, 64]

    def norm(values: torch.Tensor, name: str) -> torch.Tensor:
        return functional.batch_norm(
            values, state[f"{name}.running_mean"], state[f"{name}.running_var"], state[f"{name}.weight"], state[f"{name}.bias"]
        )

    found = norm(found.transpose(1, 3), "bn0").transpose(1, 3)
    for block in range(1, 7):
        for layer in (1, 2):
            weight = state[f"conv_block{block}.conv{layer}.weight"]
            found = norm(functional.conv2d(found, weight, padding=1), f"conv_block{block}.bn{layer}").relu()
        found = functional.avg_pool2d(found, 2 if block < 6 else 1)
    found = found.mean(dim=3)
    found = found.max(dim=2).values + found.mean(dim=2)
    embedding = functional.linear(found, state["fc1.weight"], state["fc1.bias"]).relu()
    logits = functional.linear(embedding, state["fc_audioset.weight"], state["fc_audioset.bias"])
    return embedding.numpy(), logits[0].numpy()


@pytest.mark.parametrize(("sample_rate", "hop"), [(16_000, 160), (32_000, 320)])
def test_a_published_checkpoint_gives_the_embedding_and_logits_of_the_published_code(tmp_path, sample_rate, hop):
    state = save_cnn14(tmp_path, sample_rate=sample_rate)
    embedder, clip = Panns(folder=tmp_path), noise(0, seconds=2.3, sample_rate=sample_rate)
    embedding, logits = as_published(state, clip.audio[0], hop=hop)
    assert embedder.sample_rate == sample_rate
    assert np.abs(embedding - embedder.embed(tone(500, seconds=2.3, sample_rate=sample_rate))).max() > 0.3
    np.testing.assert_allclose(embedder.embed(clip), embedding, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(embedder.classify(clip), logits, rtol=1e-3, atol=1e-3)


def test_the_log_mel_front_end_equals_librosas(tmp_path):
    save_cnn14(tmp_path)
    samples = noise(1, seconds=1.0).audio
    mel = need("librosa.feature.spectral").melspectrogram(
        y=samples[0].numpy(), sr=16_000, n_fft=512, hop_length=160, n_mels=64, fmin=50, fmax=8000, pad_mode="reflect"
    )
    wanted = need("librosa.core.spectrum").power_to_db(mel, ref=1.0, amin=1e-10, top_db=None)
    np.testing.assert_allclose(Panns(folder=tmp_path)._network.log_mel(samples)[0].T, wanted, atol=1e-2)


def test_the_full_network_has_the_published_shapes():
    with torch.device("meta"):
        state = Cnn14(n_fft=1024, hop=320).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes["conv_block1.conv1.weight"] == (64, 1, 3, 3)
    assert shapes["conv_block6.conv2.weight"] == (2048, 2048, 3, 3)
    assert shapes["conv_block6.bn2.running_var"] == (2048,)
    assert shapes["fc1.weight"] == (2048, 2048) and shapes["fc_audioset.weight"] == (527, 2048)
    assert shapes["bn0.weight"] == (64,) and shapes["logmel_extractor.melW"] == (513, 64)


def test_a_short_clip_is_padded_with_silence(tmp_path):
    save_cnn14(tmp_path)
    embedder, clip = Panns(folder=tmp_path), noise(2, seconds=0.1)
    padded = type(clip)(audio=functional.pad(clip.audio, (0, 32_000 - 1600)), sample_rate=16_000)
    np.testing.assert_array_equal(embedder.embed(clip), embedder.embed(padded))
    assert embedder.embed(clip).shape == (1, 128)


def test_missing_and_foreign_weights_are_told_apart(tmp_path):
    with pytest.raises(ConfigError, match=r"zenodo\.org/records/3987831"):
        Panns()
    state = save_cnn14(tmp_path)
    del state["fc1.weight"]
    torch.save({"model": state}, tmp_path / "Cnn14_16k_mAP=0.438.pth")
    with pytest.raises(CheckpointError, match=r"fc1\.weight"):
        Panns(folder=tmp_path)


def test_a_checkpoint_that_runs_code_is_refused(tmp_path):
    class Runs:
        def __reduce__(self):
            return print, ("code ran",)

    torch.save({"model": {"a": torch.ones(1)}, "sampler": Runs()}, tmp_path / "Cnn14_16k_mAP=0.438.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        Panns(folder=tmp_path)
