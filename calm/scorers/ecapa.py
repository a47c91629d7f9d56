"""The head of ECAPA-TDNN (Desplanques et al., 2020, arXiv 2005.07143) as in WavLM's speaker verification checkpoints.

It differs from the paper in three points that those weights were trained with: ReLU comes before batch normalisation,
the attention of the pooling sees no global context, and no batch normalisation follows the last linear map.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from calm.scorers.fairseq import load_exactly

__all__ = ["EcapaHead", "head_from"]

#: dilations of the three residual blocks
DILATIONS = (2, 3, 4)
#: modules of the checkpoint -> modules of this file
_NAMES = {
    r"^layer1\.": "first.",
    r"^layer([234])\.": r"blocks.\1.",
    r"\.Conv1dReluBn1\.": ".enter.",
    r"\.Res2Conv1dReluBn\.": ".scales.",
    r"\.Conv1dReluBn2\.": ".leave.",
    r"\.SE_Connect\.": ".gate.",
}


class _Convolution(nn.Module):
    """Convolution, ReLU, batch normalisation; [B, D, F] -> [B, D', F]."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x).relu())


class _Scales(nn.Module):
    """Res2Net's hierarchy: each slice of the channels but the last is convolved with the sum of it and the one before."""

    def __init__(self, channels: int, *, scale: int, dilation: int) -> None:
        super().__init__()
        width = channels // scale
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation) for _ in range(scale - 1))
        self.bns = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(scale - 1))

    def forward(self, x: Tensor) -> Tensor:
        *slices, last = x.chunk(len(self.convs) + 1, dim=1)
        found: list[Tensor] = []
        for piece, conv, bn in zip(slices, self.convs, self.bns, strict=True):
            found.append(bn(conv(piece + found[-1] if found else piece).relu()))
        return torch.cat([*found, last], dim=1)


class _Gate(nn.Module):
    """Squeeze and excitation: channels are weighed by what the whole clip holds."""

    def __init__(self, channels: int, *, width: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(channels, width), nn.Linear(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.linear2(self.linear1(reduce(x, "b d f -> b d", "mean")).relu()).sigmoid()
        return x * rearrange(weights, "b d -> b d 1")


class _Block(nn.Module):
    """A residual block of ECAPA-TDNN."""

    def __init__(self, channels: int, *, scale: int, dilation: int, gate: int) -> None:
        super().__init__()
        self.enter, self.leave = _Convolution(channels, channels), _Convolution(channels, channels)
        self.scales = _Scales(channels, scale=scale, dilation=dilation)
        self.gate = _Gate(channels, width=gate)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate(self.leave(self.scales(self.enter(x))))


class _Pooling(nn.Module):
    """Attentive statistics (Okabe et al., 2018): weighted mean and deviation over frames; [B, D, F] -> [B, 2 D]."""

    def __init__(self, channels: int, *, width: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Conv1d(channels, width, 1), nn.Conv1d(width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.linear2(self.linear1(x).tanh()).softmax(dim=-1)
        mean = (weights * x).sum(dim=-1)
        variance = (weights * x.square()).sum(dim=-1) - mean.square()
        return torch.cat([mean, variance.clamp(min=1e-9).sqrt()], dim=-1)


class EcapaHead(nn.Module):
    """Features [B, D, F] -> embeddings [B, out]."""

    def __init__(
        self, dim: int, *, channels: int, pooled: int, out: int, scale: int = 8, gate: int = 128, attention: int = 128
    ) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm1d(dim)  # over the frames of a clip, no weights
        self.first = _Convolution(dim, channels, kernel=5)
        blocks = {str(n): _Block(channels, scale=scale, dilation=d, gate=gate) for n, d in enumerate(DILATIONS, start=2)}
        self.blocks = nn.ModuleDict(blocks)
        self.conv = nn.Conv1d(channels * len(DILATIONS), pooled, 1)
        self.pooling = _Pooling(pooled, width=attention)
        self.bn = nn.BatchNorm1d(2 * pooled)
        self.linear = nn.Linear(2 * pooled, out)

    def forward(self, features: Tensor) -> Tensor:
        x = self.first(self.norm(features))
        found = []
        for block in self.blocks.values():
            x = block(x)
            found.append(x)
        pooled = self.pooling(self.conv(torch.cat(found, dim=1)).relu())
        return self.linear(self.bn(pooled))


def head_from(state: Mapping[str, Tensor]) -> EcapaHead:
    """Build the head of a checkpoint with its original names, in eval mode. Raises KeyError or CheckpointError."""
    first, block = state["layer1.conv.weight"], "layer2.SE_Connect.linear1.weight"
    scales = {name.split(".")[3] for name in state if name.startswith("layer2.Res2Conv1dReluBn.convs.")}
    head = EcapaHead(
        first.shape[1],
        channels=first.shape[0],
        pooled=state["conv.weight"].shape[0],
        out=state["linear.weight"].shape[0],
        scale=len(scales) + 1,
        gate=state[block].shape[0],
        attention=state["pooling.linear1.weight"].shape[0],
    )
    load_exactly(head, {_rename(name): value for name, value in state.items()}, what="head")
    return head.float().eval()


def _rename(name: str) -> str:
    for pattern, replacement in _NAMES.items():
        name = re.sub(pattern, replacement, name)
    return name
