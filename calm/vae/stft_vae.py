"""`stft_vae`: the project's own VAE, one class from 16 kHz mono to 48 kHz stereo (METHOD 4)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from torch.nn import functional as F

from calm.errors import ConfigError
from calm.registry import register
from calm.vae.base import VAE, Posterior
from calm.vae.cepstrum import Cepstrum, Envelope
from calm.vae.decoder import Decoder
from calm.vae.encoder import Aggregator, ConvEncoder, Encoder
from calm.vae.pitch import HarmonicSource, PitchTracker
from calm.vae.streaming import StftStream, push_together

__all__ = ["StftVAE"]

# Keeps the posterior from collapsing to a point, where log(std) is unbounded.
MIN_STD = 1e-3


def _check(config: Any) -> None:
    """Raise ConfigError for sizes that do not fit together."""
    frames = math.prod(config.strides) * config.patch // max(1, config.stft_hop)
    rules = (
        ("channels", config.channels in (1, 2), "1 or 2"),
        ("encoder_widths", len(config.encoder_widths) == len(config.strides), "as many as strides"),
        ("stft_hop", math.prod(config.strides) % config.stft_hop == 0, f"a divisor of {math.prod(config.strides)}"),
        ("n_fft", config.n_fft % (2 * config.stft_hop) == 0, f"a multiple of twice stft_hop = {2 * config.stft_hop}"),
        ("num_heads", config.encoder_widths[-1] % config.num_heads == 0, "a divisor of encoder_widths[-1]"),
        ("num_heads", config.decoder_width % config.num_heads == 0, "a divisor of decoder_width"),
        ("look_ahead_frames", config.look_ahead_frames >= 0, "0 or more"),
        ("num_mels", config.num_mels >= 2, "2 or more"),
        ("latent_std_floor", config.latent_std_floor >= 0, "0 or more"),
        (
            "pitch_points",
            0 <= 2 * config.pitch_points < config.latent_dim
            and (config.pitch_points == 0 or frames % config.pitch_points == 0),
            f"0, or a divisor of {frames} below latent_dim / 2",
        ),
        ("encoder_kernel_size", config.encoder_kernel_size % 2 == 1, "an odd number"),
    )
    for key, holds, allowed in rules:
        if not holds:
            raise ConfigError(
                f"stft_vae: {key} = {getattr(config, key)} does not fit", where=f"vae.{key}", allowed=allowed
            )


@register("vae", "stft_vae")
class StftVAE(VAE):
    """Snake-convolution encoder with a patch aggregator, causal low-rate decoder with an iSTFT head."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Sizes. Latents have ``prod(strides) * patch`` samples per frame; "frames" come before the patches.

        Widths must be multiples of ``num_heads``; ``n_fft`` of ``stft_hop``; ``prod(strides)`` of ``stft_hop``.
        """

        name: Literal["stft_vae"] = "stft_vae"
        sample_rate: int = 44100
        channels: int = 2
        latent_dim: int = 64
        patch: int = 4
        num_heads: int = 8
        attention_window_frames: int = 32
        strides: tuple[int, ...] = (4, 4, 8, 8)
        encoder_widths: tuple[int, ...] = (64, 128, 256, 512)
        encoder_kernel_size: int = 7
        encoder_dilations: tuple[int, ...] = (1, 3, 9)
        num_encoder_layers: int = 3
        num_aggregator_layers: int = 4
        decoder_width: int = 640
        num_decoder_layers: int = 3
        output_width: int = 512
        num_output_blocks: int = 2
        n_fft: int = 2048
        stft_hop: int = 512
        look_ahead_frames: int = 1
        #: mel bands per STFT frame of the cepstrum that encoder and decoder start from
        num_mels: int = 64
        #: P; twice as many channels of the latents hold pitch and voicing, and the decoder sounds its harmonics
        pitch_points: int = 0
        #: least spread that a channel is normalised by, as a share of the median spread (see ``VAE``)
        latent_std_floor: float = 0.1

        def __post_init__(self) -> None:
            for key in ("strides", "encoder_widths", "encoder_dilations"):
                object.__setattr__(self, key, tuple(getattr(self, key)))
            _check(self)

    def __init__(self, config: Config) -> None:
        super().__init__(
            sample_rate=config.sample_rate,
            channels=config.channels,
            hop=math.prod(config.strides) * config.patch,
            latent_dim=config.latent_dim,
            std_floor=config.latent_std_floor,
        )
        self.config = config
        self.encoder = self._build_encoder()
        self.decoder = self._build_decoder()

    def _build_encoder(self) -> Encoder:
        config = self.config
        attention = {"num_heads": config.num_heads, "window": config.attention_window_frames}
        free = config.latent_dim - 2 * config.pitch_points
        frames = ConvEncoder(
            config.channels,
            strides=config.strides,
            widths=config.encoder_widths,
            kernel_size=config.encoder_kernel_size,
            dilations=config.encoder_dilations,
            num_layers=config.num_encoder_layers,
            **attention,
        )
        aggregator = Aggregator(
            config.encoder_widths[-1],
            latent_dim=free,
            patch=config.patch,
            num_layers=config.num_aggregator_layers,
            **attention,
        )
        cepstrum = Cepstrum(
            config.channels,
            free,
            patch=self.hop // config.stft_hop,
            n_fft=config.n_fft,
            hop=config.stft_hop,
            num_mels=config.num_mels,
            sample_rate=config.sample_rate,
        )
        return Encoder(frames, aggregator, cepstrum, self._pitch_tracker())

    def _build_decoder(self) -> Decoder:
        config = self.config
        return Decoder(
            config.latent_dim,
            channels=config.channels,
            look_ahead=config.look_ahead_frames,
            patch=config.patch,
            width=config.decoder_width,
            num_layers=config.num_decoder_layers,
            num_heads=config.num_heads,
            window=config.attention_window_frames,
            upsample=math.prod(config.strides) // config.stft_hop,
            output_width=config.output_width,
            num_output_blocks=config.num_output_blocks,
            n_fft=config.n_fft,
            stft_hop=config.stft_hop,
            envelope=Envelope(self.encoder.cepstrum),
            source=self._harmonic_source(),
        )

    def _pitch_tracker(self) -> PitchTracker | None:
        config = self.config
        if not config.pitch_points:
            return None
        return PitchTracker(
            config.pitch_points, hop=self.hop, stft_hop=config.stft_hop, sample_rate=config.sample_rate
        )

    def _harmonic_source(self) -> HarmonicSource | None:
        config = self.config
        if not config.pitch_points:
            return None
        return HarmonicSource(
            config.pitch_points,
            frames_per_latent=self.hop // config.stft_hop,
            n_fft=config.n_fft,
            hop=config.stft_hop,
            sample_rate=config.sample_rate,
        )

    def start_from(self, audio: Tensor) -> None:
        """Fit the analysis that encoder and decoder start from to clips [B, A, S]; for untrained weights only."""
        self.encoder.cepstrum.fit(audio[..., : audio.shape[-1] // self.hop * self.hop])
        self.decoder.envelope.start_from(self.encoder.cepstrum)

    @property
    def look_ahead(self) -> int:
        """Latent frames that must follow a frame before its audio is final."""
        return self.decoder.look_ahead

    def encode(self, audio: Tensor) -> Posterior:
        self.check(audio)
        mean, scale = self.encoder(audio)
        return Posterior(mean=mean, std=F.softplus(scale) + MIN_STD)

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(latents)

    def stream(self) -> StftStream:
        return StftStream(self.decoder)

    def push_streams(self, streams: Sequence[StftStream], latents: Sequence[Tensor]) -> list[Tensor]:
        return push_together(streams, latents)

    def param_groups(self) -> Iterable[dict[str, Any]]:
        return [
            {"part": "vae.encoder", "params": list(self.encoder.parameters())},
            {"part": "vae.decoder", "params": list(self.decoder.parameters())},
        ]
