"""What every audio VAE offers: waveform <-> continuous latents at a fixed rate, offline and streamed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from calm.errors import InputError
from calm.part import Part

__all__ = ["VAE", "DecoderStream", "Posterior"]

# A channel whose spread is far below its neighbours' would be blown up to unit variance and drown
# the loss in whitened noise, so its std is floored at this share of the median (METHOD 2.1).
DEFAULT_STD_FLOOR = 0.1


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """Diagonal Gaussian over latents: ``mean`` and ``std``, both [B, F, C], not normalised."""

    mean: Tensor
    std: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype)
        return self.mean + self.std * noise

    def kl(self) -> Tensor:
        """KL divergence to the unit Gaussian, mean over B, F and C, in nats."""
        variance = self.std.square()
        return 0.5 * (self.mean.square() + variance - 1 - variance.log()).mean()


class DecoderStream:
    """Decodes latents piece by piece; the concatenation equals the offline decode to 1e-5.

    Abstract: a VAE returns its own subclass from ``stream``. State is bounded, whatever the length.
    """

    def push(self, latents: Tensor) -> Tensor:
        """Take raw latents [B, F, C] (any F >= 1); return the audio [B, A, S'] that is final by now (S' may be 0)."""
        raise NotImplementedError

    def last(self, latents: Tensor) -> Tensor:
        """Take the last raw latents [B, F, C]; return what to push in their place, once, so that little is left to ``finish``.

        The audio is the same as with the latents alone, but for rounding. Here they are returned as they are.
        """
        return latents

    def finish(self) -> Tensor:
        """Return the remaining audio [B, A, S'']; the stream cannot be used afterwards."""
        raise NotImplementedError


class VAE(Part):
    """Abstract audio VAE.

    Args:
        sample_rate: Hz. channels: 1 or 2. hop: samples per latent frame. latent_dim: C.
        std_floor: least spread that a channel is divided by, as a share of the median spread. Above 1 most channels
            share one scale, and those that vary little weigh little in the loss of a generator.

    Models are trained on *normalised* latents: ``(z - latent_mean) / latent_std`` per channel. The
    statistics are buffers, so they travel with the weights; ``has_statistics`` says whether
    they were measured.
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        channels: int,
        hop: int,
        latent_dim: int,
        std_floor: float = DEFAULT_STD_FLOOR,
    ) -> None:
        super().__init__()
        self.std_floor = std_floor
        self.sample_rate, self.channels = sample_rate, channels
        self.hop, self.latent_dim = hop, latent_dim
        self.register_buffer("latent_mean", torch.zeros(latent_dim))
        self.register_buffer("latent_std", torch.ones(latent_dim))
        self.register_buffer("statistics_frames", torch.zeros((), dtype=torch.int64))

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""
        return self.sample_rate / self.hop

    @property
    def has_statistics(self) -> bool:
        return int(self.statistics_frames) > 0

    @abstractmethod
    def encode(self, audio: Tensor) -> Posterior:
        """Encode audio [B, A, S] (S a multiple of ``hop``) to a posterior over [B, S/hop, C]."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Decode raw latents [B, F, C] to audio [B, A, F * hop]."""

    @abstractmethod
    def stream(self) -> DecoderStream:
        """Return a fresh streaming decoder."""

    def whole_decoder(self) -> nn.Module:
        """Return a module for export, with these weights: normalised latents [1, F, C] -> audio [1, A, F * hop].

        Raises InputError where the architecture has no such form.
        """
        raise InputError(
            f"{type(self).__name__} cannot be exported to another runtime", where="vae.name", allowed="stft_vae"
        )

    def push_streams(self, streams: Sequence[DecoderStream], latents: Sequence[Tensor]) -> list[Tensor]:
        """Push raw latents [B, F, C] to each of several streams of this VAE; return what each ``push`` returns.

        One after another here; a VAE may decode together what fits together. The audio is the same but for rounding.
        """
        return [stream.push(piece) for stream, piece in zip(streams, latents, strict=True)]

    def normalize(self, latents: Tensor) -> Tensor:
        """Raw latents [..., C] -> zero mean and unit variance per channel."""
        return (latents - self.latent_mean) / self.latent_std

    def denormalize(self, latents: Tensor) -> Tensor:
        """Inverse of ``normalize``."""
        return latents * self.latent_std + self.latent_mean

    @torch.no_grad()
    def to_latents(self, audio: Tensor) -> Tensor:
        """Audio [B, A, S] -> normalised posterior means [B, S/hop, C]: what the generator is trained on."""
        self.check(audio)
        # Statistics and references are made without autocast; targets must be the same latents.
        with torch.autocast(audio.device.type, enabled=False):
            return self.normalize(self.encode(audio).mean)

    @torch.no_grad()
    def to_audio(self, latents: Tensor) -> Tensor:
        """Normalised latents [B, F, C] -> audio [B, A, F * hop]."""
        with torch.autocast(latents.device.type, enabled=False):
            return self.decode(self.denormalize(latents))

    @torch.no_grad()
    def set_statistics(self, total: Tensor, total_squares: Tensor, num_frames: int) -> list[int]:
        """Store per-channel statistics from sums [C] of raw posterior means over ``num_frames`` frames.

        The std is floored at ``std_floor`` of the median std. Returns the channels that hardly vary at all.
        """
        mean = total / num_frames
        std = (total_squares / num_frames - mean.square()).clamp_min(0).sqrt()
        floor = self.std_floor * std.median()
        self.latent_mean.copy_(mean)
        self.latent_std.copy_(std.clamp_min(floor.clamp_min(1e-6)))
        self.statistics_frames.fill_(num_frames)
        return torch.nonzero(std < min(self.std_floor, DEFAULT_STD_FLOOR) * std.median()).flatten().tolist()

    def check(self, audio: Tensor) -> None:
        """Raise InputError unless audio is [B, A, S] with this VAE's channels and S a multiple of ``hop``."""
        if audio.ndim != 3 or audio.shape[1] != self.channels or audio.shape[2] % self.hop:
            raise InputError(
                f"The VAE got audio of shape {tuple(audio.shape)}",
                where=type(self).__name__,
                allowed=f"[B, {self.channels}, S] with S a multiple of {self.hop}, at {self.sample_rate} Hz",
                hint="calm.audio.transforms resamples, converts channels and pads",
            )

    @staticmethod
    def flatten_frames(latents: Tensor) -> Tensor:
        """[B, F, C] -> [(B F), C], for statistics."""
        return rearrange(latents, "b f c -> (b f) c")
