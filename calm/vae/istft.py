"""The decoder's head: rows -> spectra -> waveform by inverse STFT and overlap-add, offline and streamed."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from calm.vae.attention import State

__all__ = ["ISTFTHead", "OverlapAdd"]

# exp(6) = 400: a spectral line louder than any signal in -1..1 needs; keeps early training finite.
MAX_LOG_MAGNITUDE = 6.0
# Share of noise that even a fully voiced frame keeps, so that its phases go on learning.
MIN_BREATH = 0.02


class ISTFTHead(nn.Module):
    """Shapes an envelope and harmonics into spectra, and synthesises frames from them (Vocos, arXiv 2306.00814).

    Rows say how far each bin lies from the envelope and which phase it has; where there are harmonics, also how
    each of them is scaled and turned. Phases are relative to the start of the latent frame rather than of the STFT
    frame, so that the phase of a steady tone is nearly constant over the rows of one latent.

    Args:
        dim: D. channels: A. n_fft: samples per STFT frame. hop: samples between STFT frames (divides n_fft).
        rows_per_latent: STFT frames that one latent frame gives. sources: 2 with harmonics, else 1.
    """

    def __init__(
        self, dim: int, *, channels: int, n_fft: int, hop: int, rows_per_latent: int, sources: int = 1
    ) -> None:
        super().__init__()
        self.channels, self.n_fft, self.sources = channels, n_fft, sources
        num_bins = n_fft // 2 + 1
        self.norm = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, 2 * sources * channels * num_bins)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        # The envelope is the first guess of every magnitude; phases start spread over the circle.
        phases = slice(sources * channels * num_bins, (sources + 1) * channels * num_bins)
        nn.init.normal_(self.project.weight[phases], std=2 * dim**-0.5)
        turns = torch.outer(torch.arange(rows_per_latent), torch.arange(num_bins)) * hop % n_fft
        self.register_buffer("advance", 2 * math.pi * turns / n_fft, persistent=False)  # [rows, bins]
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.overlap_add = OverlapAdd(self.window, hop=hop)

    def forward(
        self, x: Tensor, state: State, *, envelope: Tensor, harmonics: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Map rows to the audio [B, A, S] that is final by now.

        Args:
            x: rows [B, N, D] of whole latents. envelope: log-magnitudes [B, A, N, bins].
            harmonics: unit spectra [B, N, bins] (complex) and voicing [B, N].
        """
        shape = rearrange(
            self.project(self.norm(x)).float(),
            "b n (two s a bins) -> two s b a n bins",
            two=2,
            s=self.sources,
            a=self.channels,
        )
        level, phase = shape
        phase = phase[0] + self.advance.repeat(x.shape[1] // len(self.advance), 1)
        if harmonics is None:
            spectrum = torch.polar(_magnitude(envelope + level[0]), phase)
        else:
            lines, voicing = harmonics[0].unsqueeze(1), rearrange(harmonics[1], "b n -> b 1 n 1")
            breath = torch.polar(_magnitude(envelope + level[0] + (1 + MIN_BREATH - voicing).log()), phase)
            spectrum = breath + lines * voicing * torch.polar(_magnitude(envelope + level[1]), shape[1, 1])
        return self.overlap_add(torch.fft.irfft(spectrum, n=self.n_fft) * self.window, state)

    def flush(self, state: State) -> Tensor:
        """Return the rest of the audio [B, A, S]."""
        return self.overlap_add.flush(state)


def _magnitude(log_magnitude: Tensor) -> Tensor:
    return log_magnitude.clamp(max=MAX_LOG_MAGNITUDE).exp()


class OverlapAdd(nn.Module):
    """Adds windowed frames ``hop`` apart and divides by the summed squared window.

    "Same" padding: N frames give exactly N * hop samples, (n_fft - hop) / 2 are cut from each end.
    """

    def __init__(self, window: Tensor, *, hop: int) -> None:
        super().__init__()
        self.hop, self.overlap = hop, len(window) // hop
        self.trim = (len(window) - hop) // 2
        energy = rearrange(window.square(), "(o h) -> o h", h=hop)
        self.register_buffer("energy", energy, persistent=False)

    def forward(self, frames: Tensor, state: State) -> Tensor:
        """Take windowed frames [B, A, N, n_fft]; return the samples [B, A, S] no later frame can change."""
        num_frames = frames.shape[2]
        pieces = rearrange(frames, "b a n (o h) -> b a n o h", h=self.hop)
        # Per clip, though it is the same for all: the state of a stream has the batch as its first axis throughout.
        energy = self.energy.expand(len(frames), 1, num_frames, -1, -1)
        late = self.overlap - 1
        total = sum(_shift(pieces[..., o, :], o, late - o) for o in range(self.overlap))  # [B, A, N + late, hop]
        weight = sum(_shift(energy[..., o, :], o, late - o) for o in range(self.overlap))  # [B, 1, N + late, hop]
        start = 0
        if self in state:
            old_total, old_weight, start = state[self]
            total = torch.cat([total[:, :, :late] + old_total, total[:, :, late:]], dim=2)
            weight = torch.cat([weight[:, :, :late] + old_weight, weight[:, :, late:]], dim=2)
        else:
            start = -self.trim
        audio = _divide(total[:, :, :num_frames], weight[:, :, :num_frames])
        cut = min(max(0, -start), audio.shape[-1])
        state[self] = (total[:, :, num_frames:], weight[:, :, num_frames:], min(0, start + audio.shape[-1]))
        return audio[..., cut:]

    def flush(self, state: State) -> Tensor:
        """Return the last samples [B, A, S] and forget the stream."""
        total, weight, start = state.pop(self)
        audio = _divide(total, weight)
        return audio[..., max(0, -start) : audio.shape[-1] - self.trim]


def _shift(x: Tensor, before: int, after: int) -> Tensor:
    """Pad the axis before the last with zero rows on both sides."""
    return nn.functional.pad(x, (0, 0, before, after))


def _divide(total: Tensor, weight: Tensor) -> Tensor:
    return rearrange(total / weight.clamp_min(1e-8), "b a n h -> b a (n h)")
