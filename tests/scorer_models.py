"""Tiny scorers with random weights, in the layout of the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from calm.scorers.panns import Cnn14
from calm.scorers.vggish import VGGishNetwork
from calm.types import Waveform

__all__ = ["noise", "save_clap", "save_cnn14", "save_vggish", "tone"]

CAPTIONS = ("a dog barks", "rain falls on a roof", "a calm piano melody", "two people talk in a car")


def tone(hz: float, *, seconds: float = 1.0, sample_rate: int = 16_000, level: float = 0.3) -> Waveform:
    t = torch.arange(round(seconds * sample_rate)) / sample_rate
    return Waveform(audio=level * torch.sin(2 * torch.pi * hz * t)[None], sample_rate=sample_rate)


def noise(seed: int, *, seconds: float = 1.0, sample_rate: int = 16_000, channels: int = 1) -> Waveform:
    samples = torch.randn(channels, round(seconds * sample_rate), generator=torch.Generator().manual_seed(seed))
    return Waveform(audio=0.1 * samples, sample_rate=sample_rate)


def _randomise(network: nn.Module, seed: int) -> None:
    """Weights and running statistics that make every layer matter."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.is_floating_point() and value.ndim:
            drawn = torch.randn(value.shape, generator=generator) / max(1, value[0].numel()) ** 0.5
            value.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)


def _settle(network: nn.Module, *, sample_rate: int) -> None:
    """Give batch norms the statistics of some clips: with others, hardly anything of a clip reaches the last layer."""
    clips = [*(noise(seed, sample_rate=sample_rate) for seed in range(3))]
    clips += [tone(hz, sample_rate=sample_rate) for hz in (200, 700, 2500)]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.cat([clip.audio for clip in clips]))
    network.eval()


def save_vggish(folder: Path, *, seed: int = 0, width: int = 2) -> Path:
    network = VGGishNetwork(width=width)
    _randomise(network, seed)
    torch.save(network.state_dict(), folder / "vggish-10086976.pth")
    return folder


def fourier(n_fft: int) -> tuple[Tensor, Tensor]:
    """The windowed Fourier matrices that published checkpoints hold, [n_fft // 2 + 1, 1, n_fft]."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    turns = np.exp(-2j * np.pi * np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) / n_fft) * window
    return torch.tensor(turns.real).float()[:, None], torch.tensor(turns.imag).float()[:, None]


def save_cnn14(folder: Path, *, seed: int = 0, sample_rate: int = 16_000) -> dict[str, Tensor]:
    """Write a checkpoint of training as published, with the sampler's NumPy arrays; returns its weights."""
    import librosa

    n_fft, hop, top, name = {
        16_000: (512, 160, 8000, "Cnn14_16k_mAP=0.438.pth"),
        32_000: (1024, 320, 14000, "Cnn14_mAP=0.431.pth"),
    }[sample_rate]
    network = Cnn14(width=4, n_fft=n_fft, hop=hop)
    _randomise(network, seed)
    mel = torch.tensor(librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=64, fmin=50, fmax=top).T)
    network.logmel_extractor.melW.data = mel
    _settle(network, sample_rate=sample_rate)
    real, imaginary = fourier(n_fft)
    state = {
        **network.state_dict(),
        "spectrogram_extractor.stft.conv_real.weight": real,
        "spectrogram_extractor.stft.conv_imag.weight": imaginary,
    }
    torch.save({"iteration": 600_000, "model": state, "sampler": {"pointer": np.arange(3)}}, folder / name)
    return state


def save_clap(folder: Path, *, seed: int = 0, fusion: bool = False) -> Path:
    """A ClapModel with a trained byte-level tokenizer, as the repositories of LAION lay them out."""
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import RobertaProcessing
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(CAPTIONS, vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), special, strict=True))
    settings = {"tokenizer_class": "RobertaTokenizer", "model_max_length": 512, **names}
    settings |= {"cls_token": "<s>", "sep_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    ClapFeatureExtractor(truncation="rand_trunc", padding="repeatpad", frequency_min=50).save_pretrained(folder)
    text = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"intermediate_size": 16, "max_position_embeddings": 80, "projection_dim": 12}
    audio = {"patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [2, 2], "hidden_size": 16}
    audio |= {"projection_dim": 12, "enable_fusion": fusion, "num_hidden_layers": 2}
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=12))
    _randomise(model, seed)
    model.save_pretrained(folder)
    return folder
