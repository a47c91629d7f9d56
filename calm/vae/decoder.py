"""The decoder: causal rows at a low rate with a stated look-ahead, then an iSTFT head."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from calm.vae.attention import State, WindowedAttention
from calm.vae.cepstrum import Envelope
from calm.vae.istft import ISTFTHead
from calm.vae.layers import ConvNeXtBlock, Delay, LookAheadConv, keep_variance
from calm.vae.pitch import HarmonicSource

__all__ = ["Decoder"]

KERNEL_SIZE = 7
LATENT_KERNEL_SIZE = 3
EXPANSION = 3


class Decoder(nn.Module):
    """Latents [B, F, C] -> audio [B, A, F * hop].

    Offline decoding is one push of a stream that is then flushed: there is one path through the code.

    Args:
        latent_dim: C. channels: A. look_ahead: latent frames that a frame waits for.
        patch: frames per latent. width, num_layers: of the stage at the frame rate; each layer is windowed
            causal attention (``window`` past frames) between two ConvNeXt blocks.
        upsample: STFT frames per frame. output_width, num_output_blocks: of the stage at that rate.
        n_fft, stft_hop: of the head, in samples.
        envelope: first guess of the spectra, from the first channels of the latents.
        source: harmonics, from the channels after those; None without.
    """

    def __init__(
        self,
        latent_dim: int,
        *,
        channels: int,
        look_ahead: int,
        patch: int,
        width: int,
        num_layers: int,
        num_heads: int,
        window: int,
        upsample: int,
        output_width: int,
        num_output_blocks: int,
        n_fft: int,
        stft_hop: int,
        envelope: Envelope,
        source: HarmonicSource | None,
    ) -> None:
        super().__init__()
        self.channels, self.look_ahead = channels, look_ahead
        scale = 1 / max(1, 2 * num_layers + num_output_blocks)
        kernel_size = max(LATENT_KERNEL_SIZE, look_ahead + 1)
        self.enter = LookAheadConv(latent_dim, width, kernel_size=kernel_size, look_ahead=look_ahead)
        keep_variance(self.enter.conv.conv)
        self.to_frames = _Upsample(width, width, factor=patch)
        self.layers = nn.ModuleList(
            _DecoderLayer(width, num_heads=num_heads, window=window, scale=scale) for _ in range(num_layers)
        )
        self.to_output = _Upsample(width, output_width, factor=upsample)
        self.output_blocks = nn.ModuleList(_block(output_width, scale) for _ in range(num_output_blocks))
        self.delay, self.envelope, self.source = Delay(look_ahead), envelope, source
        self.head = ISTFTHead(
            output_width,
            channels=channels,
            n_fft=n_fft,
            hop=stft_hop,
            rows_per_latent=patch * upsample,
            sources=1 if source is None else 2,
        )

    def forward(self, latents: Tensor) -> Tensor:
        state: State = {}
        return torch.cat([self.push(self.last(latents), state), self.rest(state)], dim=-1)

    def push(self, latents: Tensor, state: State) -> Tensor:
        """Take latents [B, F, C] that continue ``state``; return the audio [B, A, S] that is final by now."""
        latents, x = self.delay(latents, state), self.enter(latents, state)
        if x.shape[1] == 0:
            return latents.new_zeros(len(latents), self.channels, 0)
        x = self.to_frames(x)
        for layer in self.layers:
            x = layer(x, state)
        x = self.to_output(x)
        for block in self.output_blocks:
            x = block(x, state)
        cepstrum, pitch = latents.tensor_split([self.envelope.project.in_features], dim=-1)
        harmonics = None if self.source is None else self.source(pitch, state)
        return self.head(x, state, envelope=self.envelope(cepstrum), harmonics=harmonics)

    def flush(self, latents: Tensor, state: State) -> Tensor:
        """Return the remaining audio; ``latents`` tells batch size, width, type and device only."""
        parts = [self.push(self.last(latents[:, :0]), state)] if self.look_ahead else []
        return torch.cat([*parts, self.rest(state)], dim=-1)

    def last(self, latents: Tensor) -> Tensor:
        """Latents [B, F, C] that end a clip, with the silence that they wait for: [B, F + ``look_ahead``, C]."""
        return F.pad(latents, (0, 0, 0, self.look_ahead))

    def rest(self, state: State) -> Tensor:
        """Return the audio after a push of ``last`` latents, and forget the stream."""
        return self.head.flush(state)


class _DecoderLayer(nn.Module):
    def __init__(self, dim: int, *, num_heads: int, window: int, scale: float) -> None:
        super().__init__()
        self.first = _block(dim, scale)
        self.norm = nn.LayerNorm(dim)
        self.attention = WindowedAttention(dim, num_heads=num_heads, before=window)
        self.second = _block(dim, scale)

    def forward(self, x: Tensor, state: State) -> Tensor:
        x = self.first(x, state)
        x = x + self.attention(self.norm(x), state)
        return self.second(x, state)


class _Upsample(nn.Module):
    """Linear map of every row to ``factor`` rows: [B, N, D] -> [B, N * factor, D']."""

    def __init__(self, dim_in: int, dim_out: int, *, factor: int) -> None:
        super().__init__()
        self.project = keep_variance(nn.Linear(dim_in, factor * dim_out))
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return rearrange(self.project(x), "b n (u d) -> b (n u) d", u=self.factor)


def _block(dim: int, scale: float) -> ConvNeXtBlock:
    return ConvNeXtBlock(dim, kernel_size=KERNEL_SIZE, expansion=EXPANSION, scale=scale)
