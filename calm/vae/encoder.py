"""The encoder: strided Snake convolutions, windowed attention, and an aggregator that keeps one row per patch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from calm.vae.attention import TransformerLayer
from calm.vae.layers import ResidualUnit, Snake, keep_variance

__all__ = ["Aggregator", "ConvEncoder"]

# softplus(-4) = 0.018
INITIAL_RAW_SCALE = -4.0
RESIDUAL_GAIN = 0.3
SILENCE = 1e-4


class ConvEncoder(nn.Module):
    """Audio [B, A, S] -> frames [B, N, D], N = S / prod(strides).

    Every stage first lowers the rate by its stride, then refines at the lower rate, so that little is
    computed at the rate of the waveform. The log-spectrum of every frame is added to the last stage's
    output: from it the layers above read loudness and pitch at once, long before the convolutions have
    learned a filter bank of their own.

    Args:
        channels: A. strides, widths: one entry per stage; the last width is D.
        kernel_size, dilations: of the residual units of every stage.
        num_layers: windowed attention layers at the frame rate; a frame sees ``window`` frames on each side.
        n_fft: window of the log-spectrum, in samples.
    """

    def __init__(
        self,
        channels: int,
        *,
        strides: Sequence[int],
        widths: Sequence[int],
        kernel_size: int,
        dilations: Sequence[int],
        num_layers: int,
        num_heads: int,
        window: int,
        n_fft: int,
    ) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        width_in = channels
        for stride, width in zip(strides, widths, strict=True):
            if stages:
                stages.append(Snake(width_in))
            stages.append(_Downsample(width_in, width, stride=stride))
            stages.extend(ResidualUnit(width, kernel_size=kernel_size, dilation=d) for d in dilations)
            width_in = width
        self.stages = nn.Sequential(*stages)
        self.stages.apply(_initialize)
        self.spectrum = _LogSpectrum(channels, width_in, n_fft=n_fft, hop=math.prod(strides))
        self.layers = nn.Sequential(
            *(TransformerLayer(width_in, num_heads=num_heads, before=window, after=window) for _ in range(num_layers))
        )

    def forward(self, audio: Tensor) -> Tensor:
        frames = rearrange(self.stages(audio), "b d n -> b n d")
        return self.layers(frames + self.spectrum(audio))


class _LogSpectrum(nn.Module):
    """Linear map of the log-magnitude of every frame; [B, A, S] -> [B, N, D]."""

    def __init__(self, channels: int, dim: int, *, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)
        self.project = keep_variance(nn.Linear(channels * (n_fft // 2 + 1), dim))

    def forward(self, audio: Tensor) -> Tensor:
        around = self.n_fft - self.hop
        frames = nn.functional.pad(audio, (around // 2, around - around // 2)).unfold(-1, self.n_fft, self.hop)
        magnitude = torch.fft.rfft(frames * self.window).abs()
        # About -2 for silence, 0 at -40 dB, 2 at full scale.
        level = 0.5 * (magnitude + SILENCE).log() - 0.5 * math.log(1e-2)
        return self.project(rearrange(level, "b a n bins -> b n (a bins)"))


class _Downsample(nn.Module):
    """Convolution of width 2 * stride and the given stride; [B, D, N] -> [B, D', N / stride]."""

    def __init__(self, dim_in: int, dim_out: int, *, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim_in, dim_out, 2 * stride, stride=stride)
        self.padding = ((stride + 1) // 2, stride // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(nn.functional.pad(x, self.padding))


def _initialize(module: nn.Module) -> None:
    keep_variance(module)
    if isinstance(module, ResidualUnit):
        module.layers[-1].weight.data.mul_(RESIDUAL_GAIN)


class Aggregator(nn.Module):
    """Frames [B, F * patch, D] -> one row per patch [B, F, 2 C]: mean and raw scale.

    One learned [CLS] row is put after every ``patch`` frames, a windowed transformer runs over the
    sequence, and only the [CLS] rows are kept (CLS pooling as in BERT, arXiv 1810.04805). A [CLS] row
    starts from a linear summary of its own patch, so that attention need not learn to copy first.

    Args:
        dim: D. latent_dim: C. patch: frames per latent. window: rows seen on each side.
    """

    def __init__(
        self, dim: int, *, latent_dim: int, patch: int, num_layers: int, num_heads: int, window: int
    ) -> None:
        super().__init__()
        self.patch = patch
        self.cls = nn.Parameter(0.02 * torch.randn(dim))
        self.summary = keep_variance(nn.Linear(patch * dim, dim))
        self.layers = nn.Sequential(
            *(TransformerLayer(dim, num_heads=num_heads, before=window, after=window) for _ in range(num_layers))
        )
        self.project = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * latent_dim))
        # The noise of a wide posterior would hide the signal from the decoder at first, and the KL term
        # would then keep it hidden (posterior collapse): start narrow.
        nn.init.constant_(self.project[1].bias[latent_dim:], INITIAL_RAW_SCALE)

    def forward(self, frames: Tensor) -> Tensor:
        frames = rearrange(frames, "b (f p) d -> b f p d", p=self.patch)
        cls = self.cls + self.summary(rearrange(frames, "b f p d -> b f (p d)"))
        rows = rearrange(torch.cat([frames, cls.unsqueeze(2)], dim=2), "b f p d -> b (f p) d")
        rows = rearrange(self.layers(rows), "b (f p) d -> b f p d", p=self.patch + 1)
        return self.project(rows[:, :, -1])
