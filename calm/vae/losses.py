"""Reconstruction and adversarial losses of the VAE stage (METHOD 4; weights are the root's config)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from calm.vae.adversary import Verdict
from calm.vae.cepstrum import mel_filters

__all__ = [
    "SpectralDistance",
    "SpectralLoss",
    "adversarial_loss",
    "discriminator_loss",
    "feature_matching_loss",
    "stereo_views",
]

# Spectra are scaled so that noise of RMS r has magnitude r per bin; what is quieter than this (-80 dB of full
# scale) counts as silence, else the logarithm would make digital zeros the most important part of a clip.
FLOOR = 1e-4


@dataclass(frozen=True, kw_only=True)
class SpectralDistance:
    """Distances of B clips, each [B]: ``stft`` (convergence + log-magnitude L1) and ``mel`` (log-mel L1, in nepers)."""

    stft: Tensor
    mel: Tensor


class SpectralLoss(nn.Module):
    """Multi-resolution STFT and multi-scale log-mel distance; every spectrum is computed once for both.

    Stereo is compared as left, right, mid and side (Stable Audio, arXiv 2407.14358).

    Args:
        sample_rate: Hz. n_ffts: window lengths in samples; the hop is a quarter of each.
    """

    def __init__(self, *, sample_rate: int, n_ffts: Sequence[int]) -> None:
        super().__init__()
        self.n_ffts = tuple(n_ffts)
        for n_fft in self.n_ffts:
            window = torch.hann_window(n_fft)
            self.register_buffer(f"window_{n_fft}", window / window.square().sum().sqrt(), persistent=False)
            filters = mel_filters(max(8, min(128, n_fft // 16)), n_fft=n_fft, sample_rate=sample_rate)
            self.register_buffer(f"mel_{n_fft}", filters, persistent=False)

    def forward(self, reconstruction: Tensor, target: Tensor) -> SpectralDistance:
        """Compare audio [B, A, S] with audio [B, A, S]."""
        views = stereo_views(torch.cat([reconstruction, target]).float())
        stft, mel = zip(*(self._compare(views, n_fft) for n_fft in self.n_ffts), strict=True)
        return SpectralDistance(stft=torch.stack(stft).mean(dim=0), mel=torch.stack(mel).mean(dim=0))

    def _compare(self, views: Tensor, n_fft: int) -> tuple[Tensor, Tensor]:
        window, filters = getattr(self, f"window_{n_fft}"), getattr(self, f"mel_{n_fft}")
        spectrum = torch.stft(
            rearrange(views, "b a s -> (b a) s"), n_fft, n_fft // 4, window=window, return_complex=True, pad_mode="constant"
        )
        # The tiny offset keeps the gradient of the magnitude finite at exact zeros.
        magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-12).sqrt()
        mel = filters @ magnitude
        ours, real = rearrange(magnitude, "(two b a) k n -> two b (a k n)", two=2, a=views.shape[1])
        convergence = (real - ours).norm(dim=-1) / real.norm(dim=-1).clamp_min(FLOOR * real.shape[-1] ** 0.5)
        ours_mel, real_mel = rearrange(mel, "(two b a) k n -> two b (a k n)", two=2, a=views.shape[1])
        return convergence + _log_distance(ours, real), _log_distance(ours_mel, real_mel)


def _log_distance(ours: Tensor, real: Tensor) -> Tensor:
    return ((ours + FLOOR).log() - (real + FLOOR).log()).abs().mean(dim=-1)


def stereo_views(audio: Tensor) -> Tensor:
    """Mono [B, 1, S] as it is; stereo [B, 2, S] -> left, right, mid, side [B, 4, S]."""
    if audio.shape[1] == 1:
        return audio
    left, right = audio[:, :1], audio[:, 1:]
    return torch.cat([left, right, (left + right) / 2, (left - right) / 2], dim=1)


def discriminator_loss(real: Sequence[Verdict], fake: Sequence[Verdict]) -> Tensor:
    """Hinge loss of the adversary: mean over resolutions of relu(1 - D(x)) + relu(1 + D(G(z)))."""
    terms = [(1 - r.logits).relu().mean() + (1 + f.logits).relu().mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(terms).mean()


def adversarial_loss(fake: Sequence[Verdict]) -> Tensor:
    """Hinge loss of the generator: mean over resolutions of -D(G(z))."""
    return torch.stack([-f.logits.mean() for f in fake]).mean()


def feature_matching_loss(real: Sequence[Verdict], fake: Sequence[Verdict]) -> Tensor:
    """L1 of the adversary's features, relative to the mean size of the real ones (arXiv 2210.13438, eq. 2)."""
    terms = [
        (x.detach() - y).abs().mean() / x.detach().abs().mean().clamp_min(1e-3)
        for r, f in zip(real, fake, strict=True)
        for x, y in zip(r.features, f.features, strict=True)
    ]
    return torch.stack(terms).mean()
