"""The network of the sound and music classifier: log-mel spectrum -> what is heard, how often, and an embedding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from calm.audio import mel_spectrogram, resample, set_level, to_channels
from calm.types import Waveform

__all__ = ["EMBEDDING_SIZE", "SILENCE", "Heard", "Listener", "log_mel"]

SAMPLE_RATE, N_FFT, HOP, NUM_MELS = 16_000, 1024, 320, 64
#: clips are brought to one level, so that loudness is no clue; levels below -80 dB count as silence
LEVEL_DBFS, FLOOR = -23.0, 1e-4
#: what log-mel values become: (log + OFFSET) / OFFSET, near zero mean and unit variance; and the value of silence
OFFSET = 2.5
SILENCE = (math.log(FLOOR) + OFFSET) / OFFSET
EMBEDDING_SIZE = 64
WIDTH = 64
#: clips shorter than the network's field of view are padded with silence to this many frames
MIN_FRAMES = 64


@dataclass(frozen=True, kw_only=True)
class Heard:
    """Of B clips: ``presence`` logits [B, L] of the labels, ``counts`` [B, L] (sums over time), ``embedding`` [B, 64]."""

    presence: Tensor
    counts: Tensor
    embedding: Tensor


class Listener(nn.Module):
    """A small convolutional net over frequency and time (about 0.1 M weights).

    Presence is read off pooled features (mean and maximum over time) through the embedding; counts are sums
    over time of a non-negative density, so that a clip of twice the events gives twice the count.
    """

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.planes = nn.Sequential(
            *_layer_2d(1, 8, stride=(2, 1)),
            *_layer_2d(8, 16, stride=(2, 2)),
            *_layer_2d(16, 16, stride=(2, 1)),
        )
        self.frames = nn.Sequential(
            *_layer_1d(16 * NUM_MELS // 8, WIDTH, dilation=1),
            *_layer_1d(WIDTH, WIDTH, dilation=2),
            *_layer_1d(WIDTH, WIDTH, dilation=4),
        )
        self.embed = nn.Linear(2 * WIDTH, EMBEDDING_SIZE)
        self.presence = nn.Linear(EMBEDDING_SIZE, num_labels)
        self.density = nn.Conv1d(WIDTH, num_labels, 1)
        nn.init.constant_(self.density.bias, -4.0)

    def forward(self, mel: Tensor, num_frames: Tensor) -> Heard:
        """Log-mel [B, 64, N], silence padded after ``num_frames`` [B] frames."""
        planes = self.planes(rearrange(mel, "b m n -> b 1 m n"))
        frames = self.frames(rearrange(planes, "b w m n -> b (w m) n"))
        inside = torch.arange(frames.shape[-1], device=mel.device) < ((num_frames + 1) // 2)[:, None]
        inside = rearrange(inside, "b n -> b 1 n")
        average = (frames * inside).sum(dim=-1) / inside.sum(dim=-1)
        largest = frames.masked_fill(~inside, 0.0).amax(dim=-1)
        embedding = self.embed(torch.cat([average, largest], dim=-1))
        counts = (functional.softplus(self.density(frames)) * inside).sum(dim=-1)
        return Heard(presence=self.presence(embedding.relu()), counts=counts, embedding=embedding)


def log_mel(clip: Waveform) -> Tensor:
    """Log-mel spectrum [64, N] of a clip of any rate and level, about zero mean and unit variance."""
    clip = set_level(to_channels(resample(clip, SAMPLE_RATE), 1), dbfs=LEVEL_DBFS, peak=8.0)
    mel = mel_spectrogram(clip.audio[0].float(), sample_rate=SAMPLE_RATE, n_fft=N_FFT, hop=HOP, num_mels=NUM_MELS)
    level = (mel.clamp_min(FLOOR).log() + OFFSET) / OFFSET
    missing = max(0, MIN_FRAMES - level.shape[-1])
    return functional.pad(level, (0, missing), value=SILENCE)


def _layer_2d(inputs: int, outputs: int, *, stride: tuple[int, int]) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]


def _layer_1d(inputs: int, outputs: int, *, dilation: int) -> list[nn.Module]:
    return [nn.Conv1d(inputs, outputs, 5, dilation=dilation, padding=2 * dilation), nn.BatchNorm1d(outputs), nn.ReLU()]
