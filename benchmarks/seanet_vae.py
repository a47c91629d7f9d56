"""`seanet_vae`: EnCodec's architecture as a VAE, for comparison. No part of `calm`; load it with `imports`.

    python -m calm train "imports=[benchmarks.seanet_vae]" experiment=mini_vae vae=seanet_vae name=seanet_vae
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from calm._torchaudio import install
from calm.registry import register
from calm.vae import VAE, Posterior
from calm.vae.encodec_stream import EncodecStream

__all__ = ["SeanetVAE"]

#: both as in `stft_vae`: the posterior never collapses to a point, and starts narrow, softplus(-5) = 0.007
MIN_STD, INITIAL_RAW_SCALE = 1e-3, -5.0


@register("vae", "seanet_vae")
class SeanetVAE(VAE):
    """SEANet encoder and decoder with LSTMs (EnCodec, arXiv 2210.13438), a Gaussian in the quantiser's place.

    Everything but the sizes below is as in EnCodec 24 kHz: causal, weight norm, ELU, kernels 7 and 3, one residual
    layer per stage, two LSTM layers. All weights are trained with one learning rate.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Sizes. One latent per ``prod(ratios)`` samples; ``dimension`` is the width between encoder and Gaussian.

        num_filters: channels of the outermost layer; every stage doubles them.
        """

        name: Literal["seanet_vae"] = "seanet_vae"
        sample_rate: int = 16000
        channels: int = 1
        latent_dim: int = 96
        ratios: tuple[int, ...] = (8, 8, 5, 4)
        num_filters: int = 16
        dimension: int = 128

        def __post_init__(self) -> None:
            object.__setattr__(self, "ratios", tuple(self.ratios))

    def __init__(self, config: Config) -> None:
        super().__init__(
            sample_rate=config.sample_rate,
            channels=config.channels,
            hop=math.prod(config.ratios),
            latent_dim=config.latent_dim,
        )
        self.config = config
        sizes = {
            "channels": config.channels, "n_filters": config.num_filters, "ratios": list(config.ratios), "causal": True
        }  # fmt: skip
        install()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # encodec 0.1.1 uses torch's older weight_norm
            from encodec.modules.seanet import SEANetDecoder, SEANetEncoder

            self.encoder = SEANetEncoder(dimension=config.dimension, **sizes)
            self.decoder = SEANetDecoder(dimension=config.latent_dim, **sizes)
        self.project = nn.Linear(config.dimension, 2 * config.latent_dim)
        nn.init.constant_(self.project.bias[config.latent_dim :], INITIAL_RAW_SCALE)

    def encode(self, audio: Tensor) -> Posterior:
        self.check(audio)
        mean, scale = self.project(rearrange(self.encoder(audio), "b d f -> b f d")).chunk(2, dim=-1)
        return Posterior(mean=mean, std=F.softplus(scale) + MIN_STD)

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(self.unpatch(latents))

    def unpatch(self, latents: Tensor) -> Tensor:
        """Latents [B, F, C] -> the decoder's input [B, C, F]."""
        return rearrange(latents, "b f c -> b c f")

    def stream(self) -> EncodecStream:
        return EncodecStream(self)
