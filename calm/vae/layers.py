"""Convolutional layers of the VAE: Snake units of the encoder, causal ConvNeXt blocks of the decoder."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from calm.vae.attention import State

__all__ = ["CausalConv", "ConvNeXtBlock", "Delay", "LookAheadConv", "ResidualUnit", "Snake", "keep_variance"]


def keep_variance(layer: nn.Module) -> nn.Module:
    """Start a linear layer or convolution without bias and with unit gain, and return it.

    What a clip changes must not drown in constants on its way through the network, or the first
    minutes of training go into digging it out.
    """
    if isinstance(layer, nn.Linear | nn.Conv1d):
        nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
        nn.init.zeros_(layer.bias)
    return layer


class Snake(nn.Module):
    """x + sin(a x)^2 / a with a learned frequency per channel (arXiv 2006.08195), on [B, D, N]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_frequency = nn.Parameter(torch.zeros(dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        frequency = self.log_frequency.exp()
        return x + (frequency * x).sin().square() / frequency


class ResidualUnit(nn.Module):
    """Snake, dilated convolution, Snake, pointwise convolution, added to the input; [B, D, N], not causal."""

    def __init__(self, dim: int, *, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Snake(dim),
            nn.Conv1d(dim, dim, kernel_size, dilation=dilation, padding=dilation * (kernel_size - 1) // 2),
            Snake(dim),
            nn.Conv1d(dim, dim, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class CausalConv(nn.Module):
    """Convolution over rows [B, N, D] that sees ``kernel_size - 1`` past rows, zeros before the start."""

    def __init__(self, dim_in: int, dim_out: int, *, kernel_size: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim_in, dim_out, kernel_size, groups=groups)
        self.context = kernel_size - 1

    def forward(self, x: Tensor, state: State) -> Tensor:
        x = rearrange(x, "b n d -> b d n")
        past = state[self] if self in state else x.new_zeros(*x.shape[:2], self.context)
        x = torch.cat([past, x], dim=-1)
        state[self] = x[..., x.shape[-1] - self.context :]
        return rearrange(self.conv(x), "b d n -> b n d")


class LookAheadConv(nn.Module):
    """Causal convolution whose output is shifted so that row n also sees rows up to n + ``look_ahead``.

    The first ``look_ahead`` outputs of a stream are dropped; its end is pushed out by as many zero rows.
    """

    def __init__(self, dim_in: int, dim_out: int, *, kernel_size: int, look_ahead: int) -> None:
        super().__init__()
        self.conv = CausalConv(dim_in, dim_out, kernel_size=kernel_size)
        self.look_ahead = look_ahead

    def forward(self, x: Tensor, state: State) -> Tensor:
        pending = state.get(self, self.look_ahead)
        x = self.conv(x, state)
        state[self] = max(0, pending - x.shape[1])
        return x[:, pending:]


class Delay(nn.Module):
    """Hands on rows [B, N, D] only when ``look_ahead`` rows have followed them: in step with a ``LookAheadConv``."""

    def __init__(self, look_ahead: int) -> None:
        super().__init__()
        self.look_ahead = look_ahead

    def forward(self, x: Tensor, state: State) -> Tensor:
        waiting = torch.cat([state[self], x], dim=1) if self in state else x
        ready = max(0, waiting.shape[1] - self.look_ahead)
        state[self] = waiting[:, ready:]
        return waiting[:, :ready]


class ConvNeXtBlock(nn.Module):
    """Causal depthwise convolution, LayerNorm, two-layer network, scaled residual (arXiv 2201.03545)."""

    def __init__(self, dim: int, *, kernel_size: int, expansion: int, scale: float) -> None:
        super().__init__()
        self.conv = CausalConv(dim, dim, kernel_size=kernel_size, groups=dim)
        self.network = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, expansion * dim), nn.GELU(), nn.Linear(expansion * dim, dim)
        )
        self.scale = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: Tensor, state: State) -> Tensor:
        """Map [B, N, D] to [B, N, D]."""
        return torch.addcmul(x, self.scale, self.network(self.conv(x, state)))
