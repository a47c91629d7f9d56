"""The encoder: strided Snake convolutions, windowed attention, an aggregator that keeps one row per patch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from calm.vae.attention import TransformerLayer
from calm.vae.cepstrum import Cepstrum
from calm.vae.layers import ResidualUnit, Snake, keep_variance
from calm.vae.pitch import PitchTracker

__all__ = ["Aggregator", "ConvEncoder", "Encoder"]

# softplus(-5) = 0.007
INITIAL_RAW_SCALE = -5.0
RESIDUAL_GAIN = 0.3
# softplus(-4) = 0.018
PITCH_RAW_SCALE = -4.0


class Encoder(nn.Module):
    """Audio [B, A, S] -> mean and raw scale of the posterior, each [B, F, C].

    The mean is a cepstrum (see there) plus what convolutions and attention add to it, at first nothing; the
    pitch, where it is tracked, takes the last channels and stays as it was measured.
    """

    def __init__(
        self, frames: ConvEncoder, aggregator: Aggregator, cepstrum: Cepstrum, pitch: PitchTracker | None
    ) -> None:
        super().__init__()
        self.frames, self.aggregator, self.cepstrum, self.pitch = frames, aggregator, cepstrum, pitch

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        correction, scale = self.aggregator(self.frames(audio)).float().chunk(2, dim=-1)
        mean = self.cepstrum(audio) + correction
        if self.pitch is None:
            return mean, scale
        pitch = self.pitch(audio)
        return torch.cat([mean, pitch], dim=-1), torch.cat([scale, torch.full_like(pitch, PITCH_RAW_SCALE)], dim=-1)


class ConvEncoder(nn.Module):
    """Audio [B, A, S] -> frames [B, N, D], N = S / prod(strides).

    Every stage first lowers the rate by its stride, then refines at the lower rate, so that little is
    computed at the rate of the waveform.

    Args:
        channels: A. strides, widths: one entry per stage; the last width is D.
        kernel_size, dilations: of the residual units of every stage.
        num_layers: windowed attention layers at the frame rate; a frame sees ``window`` frames on each side.
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
        self.layers = nn.Sequential(
            *(TransformerLayer(width_in, num_heads=num_heads, before=window, after=window) for _ in range(num_layers))
        )

    def forward(self, audio: Tensor) -> Tensor:
        return self.layers(rearrange(self.stages(audio), "b d n -> b n d"))


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
        # The mean starts at zero: it corrects the cepstrum (see Encoder).
        nn.init.zeros_(self.project[1].weight[:latent_dim])
        nn.init.zeros_(self.project[1].bias[:latent_dim])

    def forward(self, frames: Tensor) -> Tensor:
        frames = rearrange(frames, "b (f p) d -> b f p d", p=self.patch)
        cls = self.cls + self.summary(rearrange(frames, "b f p d -> b f (p d)"))
        rows = rearrange(torch.cat([frames, cls.unsqueeze(2)], dim=2), "b f p d -> b (f p) d")
        rows = rearrange(self.layers(rows), "b (f p) d -> b f p d", p=self.patch + 1)
        return self.project(rows[:, :, -1])
