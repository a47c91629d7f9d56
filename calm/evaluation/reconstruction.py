"""How much of a recording survives the VAE: intelligibility of speech (STOI) and log-mel distance of everything."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from calm.audio import fit, resample, to_channels
from calm.errors import InputError
from calm.scorers.stoi import stoi
from calm.types import Waveform
from calm.vae import VAE
from calm.vae.losses import SpectralLoss

__all__ = ["Fidelity", "MelDistance", "compare", "latents_of", "reconstruct"]

#: window lengths of the log-mel distance in seconds: 2, 4, ... 128 ms
WINDOW_SECONDS = tuple(0.002 * 2**i for i in range(7))


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """One clip against its original: log-mel L1 in nepers; STOI in 0..1, None for clips too short for it."""

    mel: float
    stoi: float | None


@torch.no_grad()
def reconstruct(vae: VAE, clip: Waveform) -> Waveform:
    """Encode to the posterior mean and decode, at the VAE's rate and channels; as long as the clip."""
    clip = to_channels(resample(clip, vae.sample_rate), vae.channels)
    samples = clip.audio.shape[-1]
    audio = vae.to_audio(latents_of(vae, clip.audio))[0]
    return Waveform(audio=audio[..., :samples].float().clamp(-1, 1).cpu(), sample_rate=vae.sample_rate)


def latents_of(vae: VAE, audio: Tensor) -> Tensor:
    """Normalised latents [1, F, C] of audio [A, S] at the VAE's rate, padded with silence to whole frames."""
    padded = fit(audio, math.ceil(audio.shape[-1] / vae.hop) * vae.hop)
    return vae.to_latents(padded[None].to(vae.latent_mean))


class MelDistance:
    """Multi-scale log-mel distance, mean over windows of 2 to 128 ms (the distance of ``calm.vae.losses``)."""

    def __init__(self, sample_rate: int) -> None:
        sizes = [2 ** round(math.log2(seconds * sample_rate)) for seconds in WINDOW_SECONDS]
        self.sample_rate = sample_rate
        self._loss = SpectralLoss(sample_rate=sample_rate, n_ffts=[size for size in sizes if size >= 32])

    @torch.no_grad()
    def __call__(self, ours: Waveform, original: Waveform) -> float:
        """Distance in nepers; both clips at this rate, with the same channels and length."""
        return float(self._loss(ours.audio[None], original.audio[None]).mel)


def compare(ours: Waveform, original: Waveform, *, distance: MelDistance) -> Fidelity:
    """Compare a clip with its original, which is brought to the clip's rate and channels."""
    original = to_channels(resample(original, ours.sample_rate), ours.audio.shape[0])
    if ours.sample_rate != distance.sample_rate:
        raise InputError(f"The clip has {ours.sample_rate} Hz", where="compare", allowed=f"{distance.sample_rate} Hz")
    reference = Waveform(audio=fit(original.audio, ours.audio.shape[-1]), sample_rate=ours.sample_rate)
    return Fidelity(mel=distance(ours, reference), stoi=stoi(ours, reference))
