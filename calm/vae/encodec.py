"""`encodec`: the pretrained 24 kHz codec as frozen continuous latents, so that nobody has to train a VAE first."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from calm._torchaudio import install
from calm.errors import CheckpointError
from calm.registry import register
from calm.vae.base import VAE, Posterior
from calm.vae.encodec_stream import EncodecStream

__all__ = ["EncodecVAE"]

FILE = "encodec_24khz-d7cc33bc.th"
URL = f"https://dl.fbaipublicfiles.com/encodec/v0/{FILE}"


@register("vae", "encodec")
class EncodecVAE(VAE):
    """EnCodec 24 kHz mono before its quantiser, frozen (weights CC-BY-NC 4.0, arXiv 2210.13438).

    Latents are the encoder's outputs, 128 channels at 75 Hz; ``patch`` of them are stacked into one frame,
    which lowers the rate and widens the channels by the same factor. The posterior is a point: std is 0.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Where the weights come from, and how many codec frames make one latent.

        weights: ``hub`` downloads them (into torch's hub folder), ``random`` leaves them untrained (tests),
            anything else is the path of the checkpoint or of the folder that holds it.
        """

        name: Literal["encodec"] = "encodec"
        weights: str = "hub"
        patch: int = 4

    def __init__(self, config: Config) -> None:
        codec = _codec()
        super().__init__(
            sample_rate=codec.sample_rate,
            channels=codec.channels,
            hop=int(codec.encoder.hop_length) * config.patch,
            latent_dim=codec.encoder.dimension * config.patch,
        )
        self.config = config
        if config.weights != "random":
            _fill(codec, _load(config.weights), where=config.weights)
        # The quantiser is left out: it would only add weights that nothing uses.
        self.encoder, self.decoder = codec.encoder, codec.decoder
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> EncodecVAE:
        """Stay in evaluation mode: the codec is frozen."""
        return super().train(False)

    def param_groups(self) -> Iterable[dict[str, Any]]:
        return []

    def encode(self, audio: Tensor) -> Posterior:
        self.check(audio)
        mean = rearrange(self.encoder(audio), "b c (f p) -> b f (p c)", p=self.config.patch)
        return Posterior(mean=mean, std=torch.zeros_like(mean))

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(self.unpatch(latents))

    def unpatch(self, latents: Tensor) -> Tensor:
        """Latents [B, F, p * 128] -> the decoder's input [B, 128, F * p]."""
        return rearrange(latents, "b f (p c) -> b c (f p)", p=self.config.patch)

    def stream(self) -> EncodecStream:
        return EncodecStream(self)


def _codec() -> nn.Module:
    install()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # encodec 0.1.1 uses torch's older weight_norm
        from encodec import EncodecModel

        return EncodecModel.encodec_model_24khz(pretrained=False)


def _fill(codec: nn.Module, weights: Any, *, where: str) -> None:
    try:
        codec.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"Not EnCodec's 24 kHz checkpoint: {error}", where=where, allowed=f"the contents of {FILE}"
        ) from error


def _load(weights: str) -> dict[str, Tensor]:
    """Return the state dict from the hub or from a local path, weights only."""
    if weights == "hub":
        try:
            return torch.hub.load_state_dict_from_url(URL, map_location="cpu", check_hash=True, weights_only=True)
        except (OSError, RuntimeError) as error:
            raise CheckpointError(
                f"EnCodec's weights could not be downloaded: {error}",
                where=URL,
                hint=f"put {FILE} into {Path(torch.hub.get_dir()) / 'checkpoints'}, or set vae.weights to its path",
            ) from error
    path = Path(weights).expanduser()
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError(
            "EnCodec's weights were not found",
            where=path,
            allowed=f"hub, random, or the path of {FILE} or of its folder",
            hint=f"download {URL} on a machine that is online and put it there",
        )
    if path.name == FILE and not hashlib.sha256(path.read_bytes()).hexdigest().startswith(path.stem.split("-")[1]):
        raise CheckpointError("EnCodec's checkpoint is damaged", where=path, hint=f"download {URL} again")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"Not a checkpoint of weights only: {error}", where=path) from error
