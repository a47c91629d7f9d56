"""Adversaries of the VAE stage: the interface, and the project's own multi-resolution STFT discriminator."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from calm.part import Part
from calm.registry import register

__all__ = ["Adversary", "STFTDiscriminator", "Verdict"]

SLOPE = 0.1


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one sub-discriminator says: ``logits`` (any shape, above 0 means real) and its hidden ``features``."""

    logits: Tensor
    features: tuple[Tensor, ...]


class Adversary(Part):
    """Abstract: tells recordings from reconstructions, one verdict per resolution."""

    @abstractmethod
    def forward(self, audio: Tensor) -> list[Verdict]:
        """Judge audio [B, A, S]."""


@register("adversary", "stft_disc")
class STFTDiscriminator(Adversary):
    """Permissive multi-resolution discriminator on compressed complex spectra (the default)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """``n_ffts``: window lengths in samples, the hop is a quarter; ``width``: channels of the 2-D convolutions."""

        name: Literal["stft_disc"] = "stft_disc"
        n_ffts: tuple[int, ...] = (2048, 1024, 512)
        width: int = 32
        num_layers: int = 4

        def __post_init__(self) -> None:
            object.__setattr__(self, "n_ffts", tuple(self.n_ffts))

    def __init__(self, config: Config, *, channels: int) -> None:
        super().__init__()
        self.config = config
        self.resolutions = nn.ModuleList(
            _Resolution(n_fft, channels=channels, width=config.width, num_layers=config.num_layers)
            for n_fft in config.n_ffts
        )

    def forward(self, audio: Tensor) -> list[Verdict]:
        return [resolution(audio) for resolution in self.resolutions]


class _Resolution(nn.Module):
    """2-D convolutions over time and frequency; the frequency axis is halved by every layer."""

    def __init__(self, n_fft: int, *, channels: int, width: int, num_layers: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)
        self.layers = nn.ModuleList(
            weight_norm(
                nn.Conv2d(
                    2 * channels if i == 0 else width, width, (3, 5), stride=(1, 2), dilation=(d, 1), padding=(d, 2)
                )
            )
            for i, d in enumerate(2**i for i in range(num_layers))
        )
        self.judge = weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, audio: Tensor) -> Verdict:
        num_channels = audio.shape[1]
        spectrum = torch.stft(
            rearrange(audio, "b a s -> (b a) s").float(),
            self.n_fft,
            self.n_fft // 4,
            window=self.window,
            return_complex=True,
            pad_mode="constant",
        )
        x = rearrange(torch.view_as_real(spectrum), "(b a) k n ri -> b (a ri) n k", a=num_channels)
        # Square-root compression: quiet parts of a spectrum are heard, so they must be judged too.
        power = rearrange(x, "b (a ri) n k -> b a ri n k", ri=2).square().sum(dim=2, keepdim=True)
        x = rearrange(
            rearrange(x, "b (a ri) n k -> b a ri n k", ri=2) * (power + 1e-8) ** -0.25, "b a ri n k -> b (a ri) n k"
        )
        features = []
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return Verdict(logits=self.judge(x), features=tuple(features))
