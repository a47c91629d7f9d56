"""Log-mel spectra, their cepstrum, and the way back: the fixed analysis from which encoder and decoder start."""

from __future__ import annotations

import itertools
import math

import torch
from einops import rearrange
from torch import Tensor, nn

__all__ = ["Cepstrum", "Envelope", "mel_filters"]

SILENCE = 1e-4
# Level 0 of a mel band, natural logarithm of its magnitude: -40 dB of full scale.
LOG_REFERENCE = math.log(1e-2)
# Brings the latents of recordings near unit variance.
GAIN = 4.0


class Cepstrum(nn.Module):
    """Linear map of a patch of log-mel frames to one row; [B, A, S] -> [B, F, C].

    It starts as the low orders of a cosine transform over mel bands, frames of the patch and channels, or
    after ``fit`` as the principal components of real clips, so a decoder can learn from the first step on;
    from random weights the latents spend minutes on loudness alone.

    Args:
        channels: A. latent_dim: C. patch: frames per row. n_fft, hop: window and distance of the frames in samples.
        num_mels: bands of a frame. sample_rate: Hz.
    """

    def __init__(
        self, channels: int, latent_dim: int, *, patch: int, n_fft: int, hop: int, num_mels: int, sample_rate: int
    ) -> None:
        super().__init__()
        self.channels, self.patch, self.n_fft, self.hop = channels, patch, n_fft, hop
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)
        self.register_buffer("filters", mel_filters(num_mels, n_fft=n_fft, sample_rate=sample_rate), persistent=False)
        self.project = nn.Linear(channels * patch * num_mels, latent_dim)
        with torch.no_grad():
            self.project.bias.zero_()
            self.project.weight.copy_(_cosine_rows(latent_dim, (channels, patch, num_mels)))

    def forward(self, audio: Tensor) -> Tensor:
        return self.project(self.levels(audio))

    def levels(self, audio: Tensor) -> Tensor:
        """Log-mel levels of every patch [B, F, A * patch * mels]: about -2 for silence, 0 at -40 dB, 2 at full scale."""
        around = self.n_fft - self.hop
        frames = nn.functional.pad(audio, (around // 2, around - around // 2)).unfold(-1, self.n_fft, self.hop)
        mel = torch.fft.rfft(frames.float() * self.window).abs() @ self.filters.T
        level = 0.5 * ((mel + SILENCE).log() - LOG_REFERENCE)
        return rearrange(level, "b a (f p) mels -> b f (a p mels)", p=self.patch)

    @torch.no_grad()
    def fit(self, audio: Tensor) -> None:
        """Start from the principal components of clips [B, A, S] instead of cosines.

        A row is divided by the square root of its spread: what is loud in the data stays larger in the latents,
        yet no channel is so small that the noise of the posterior drowns it.
        """
        levels = rearrange(self.levels(audio), "b f d -> (b f) d").double()
        mean = levels.mean(dim=0)
        variances, components = torch.linalg.eigh(torch.cov((levels - mean).T))
        num_rows = min(len(self.project.weight), len(variances))
        kept = components.flip(1)[:, :num_rows].T
        spread = variances.flip(0)[:num_rows].clamp_min(1e-6).sqrt()
        self.project.weight.zero_()
        self.project.weight[:num_rows] = (kept / spread.sqrt()[:, None]).float()
        self.project.bias.copy_(-self.project.weight @ mean.float())


class Envelope(nn.Module):
    """The cepstrum read backwards: rows [B, F, C] -> log-magnitudes of every STFT bin [B, A, F * patch, bins].

    A magnitude is that of the STFT with a plain Hann window. Learned from there on.
    """

    def __init__(self, cepstrum: Cepstrum) -> None:
        super().__init__()
        self.channels, self.patch = cepstrum.channels, cepstrum.patch
        self.project = nn.Linear(cepstrum.project.out_features, cepstrum.project.in_features)
        self.register_buffer("spread", _between_centres(cepstrum.filters), persistent=False)
        self.start_from(cepstrum)

    @torch.no_grad()
    def start_from(self, cepstrum: Cepstrum) -> None:
        """Invert ``cepstrum``: exactly where it loses nothing, else with the least squared error."""
        inverse = torch.linalg.pinv(cepstrum.project.weight.double())
        level = -inverse @ cepstrum.project.bias.double()
        loudness = torch.hann_window(cepstrum.n_fft).square().sum().sqrt().log()
        self.project.weight.copy_(2 * inverse)
        self.project.bias.copy_(2 * level + LOG_REFERENCE + loudness)

    def forward(self, rows: Tensor) -> Tensor:
        mel = rearrange(self.project(rows).float(), "b f (a p mels) -> b a (f p) mels", a=self.channels, p=self.patch)
        return mel @ self.spread


def _between_centres(filters: Tensor) -> Tensor:
    """Linear interpolation [mels, bins] of values at the centres of mel bands."""
    num_mels, num_bins = filters.shape
    bins = torch.arange(num_bins, dtype=torch.float32)
    centres = (filters * bins).sum(dim=1) / filters.sum(dim=1)
    right = torch.searchsorted(centres, bins).clamp(1, num_mels - 1)
    left = right - 1
    share = ((bins - centres[left]) / (centres[right] - centres[left]).clamp_min(1e-6)).clamp(0, 1)
    weights = torch.zeros(num_mels, num_bins)
    weights[left, torch.arange(num_bins)] = 1 - share
    weights[right, torch.arange(num_bins)] += share
    return weights


def _cosine_rows(num_rows: int, shape: tuple[int, ...]) -> Tensor:
    """Return the ``num_rows`` lowest orders of the cosine transform over axes of ``shape``, [num_rows, prod(shape)].

    Orders are ranked by the product of (1 + order) over the axes. The variance of a cepstral coefficient
    falls roughly with the square of its order; the rows grow with the square root of theirs.
    Rows beyond the transform are zero.
    """
    transforms = [_cosine_transform(size) for size in shape]
    orders = sorted(itertools.product(*map(range, shape)), key=lambda o: (math.prod(1 + i for i in o), o))
    rows = torch.zeros(num_rows, math.prod(shape))
    for row, order in zip(rows, orders, strict=False):
        basis = torch.ones(1)
        for transform, i in zip(transforms, order, strict=True):
            basis = torch.outer(basis, transform[i]).flatten()
        row.copy_(basis * math.prod(1 + i for i in order) ** 0.5)
    return GAIN * rows / math.prod(shape)


def _cosine_transform(size: int) -> Tensor:
    """Orthonormal DCT-II [size, size], one order per row, scaled so that every row has mean square 1."""
    angles = math.pi / size * torch.outer(torch.arange(size), torch.arange(size) + 0.5)
    scale = torch.full((size, 1), math.sqrt(2.0))
    scale[0] = 1.0
    return scale * angles.cos()


def mel_filters(num_mels: int, *, n_fft: int, sample_rate: int) -> Tensor:
    """Triangular filters [num_mels, n_fft // 2 + 1] on the mel scale (2595 log10(1 + f / 700)); rows sum to 1."""
    top = 2595 * torch.log10(torch.tensor(1 + sample_rate / 2 / 700, dtype=torch.float64))
    # Not `linspace`: once a model of transformers was built on the meta device, torch no longer follows a default device there.
    edges = 700 * (10 ** (torch.arange(num_mels + 2, dtype=torch.float64) / (num_mels + 1) * top / 2595) - 1)
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (sample_rate / n_fft)
    # A filter narrower than a bin would be empty: every side is at least one bin wide.
    width = (edges[1:] - edges[:-1]).clamp_min(sample_rate / n_fft)
    rising = 1 - (edges[1:-1, None] - bins) / width[:-1, None]
    falling = 1 - (bins - edges[1:-1, None]) / width[1:, None]
    filters = torch.minimum(rising, falling).clamp_min(0)
    return (filters / filters.sum(dim=1, keepdim=True)).float()
