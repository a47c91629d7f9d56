"""The decoder of `stft_vae` for other runtimes: whole clips, real numbers only, the trained weights.

`torch.export` and ONNX want one graph for every length, and ONNX has neither complex numbers nor an inverse real
FFT. So the decoder's own modules run once over latents that silence has been put behind, which needs no stream, and
the inverse FFT is a product with two constant matrices.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calm.errors import CheckpointError
from calm.vae.attention import MIN_BLOCK, State
from calm.vae.decoder import Decoder
from calm.vae.istft import ISTFTHead

__all__ = ["WholeDecoder"]


class WholeDecoder(nn.Module):
    """Normalised latents [1, F, C], any F >= 1 -> audio [1, A, F * hop], equal to ``VAE.to_audio`` but for rounding.

    Args:
        decoder: the trained one; it is copied. mean, std: statistics of the latents [C].

    Raises CheckpointError for a decoder whose weights are packed.
    """

    def __init__(self, decoder: Decoder, *, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        if type(decoder) is not Decoder:
            raise CheckpointError("A packed decoder has no graph", where="decoder", hint="load the model with precision='fp32'")
        self.decoder = copy.deepcopy(decoder)
        self.decoder.head = _RealHead(self.decoder.head)
        # Attention takes rows in blocks: whole blocks, two or more, have one graph.
        rows = max([MIN_BLOCK, *(layer.attention.before for layer in decoder.layers)])
        self.block = math.lcm(rows, decoder.to_frames.factor) // decoder.to_frames.factor
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())

    def forward(self, latents: Tensor) -> Tensor:
        num_latents = latents.shape[1]
        num_blocks = 1 + (num_latents + self.block - 1) // self.block
        num_after = self.decoder.look_ahead + self.block * num_blocks - num_latents
        raw = F.pad(latents * self.std + self.mean, (0, 0, 0, num_after))
        state: State = {self.decoder.head: num_latents}
        return torch.cat([self.decoder.push(raw, state), self.decoder.head.flush(state)], dim=-1)


class _RealHead(nn.Module):
    """``ISTFTHead`` without complex numbers; a state tells it after how many latents the clip ends."""

    def __init__(self, head: ISTFTHead) -> None:
        super().__init__()
        self.head = head
        bins = torch.eye(head.n_fft // 2 + 1, dtype=torch.complex128)
        window = head.window.double()
        self.register_buffer("cosines", (torch.fft.irfft(bins, n=head.n_fft) * window).float())  # [bins, n_fft]
        self.register_buffer("sines", (torch.fft.irfft(1j * bins, n=head.n_fft) * window).float())

    def forward(self, x: Tensor, state: State, **sources: object) -> Tensor:
        spectra = self.head.spectra(x, **sources)
        real = sum(magnitude * phase.cos() for magnitude, phase in spectra)
        imaginary = sum(magnitude * phase.sin() for magnitude, phase in spectra)
        frames = real @ self.cosines + imaginary @ self.sines  # [1, A, N, n_fft]
        # By index: of a slice, torch.export cannot prove for every length that there are that many.
        kept = torch.arange(state[self] * len(self.head.advance), device=x.device)
        return self.head.overlap_add(frames.index_select(2, kept), state)

    def flush(self, state: State) -> Tensor:
        return self.head.flush(state)
