"""`encodec_msstftd`: the discriminator that ships with the `encodec` package, behind the common interface."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from calm._torchaudio import install
from calm.registry import register
from calm.vae.adversary import Adversary, Verdict

__all__ = ["EncodecDiscriminator"]


@register("adversary", "encodec_msstftd")
class EncodecDiscriminator(Adversary):
    """EnCodec's multi-scale STFT discriminator; the package's licence is CC-BY-NC 4.0.

    It is imported only when this class is built. A model trained against it may inherit the licence's
    condition "non-commercial": read the licence before you publish weights. The default is `stft_disc`.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """``n_ffts``: window lengths in samples, the hop is a quarter; ``width``: channels of the convolutions."""

        name: Literal["encodec_msstftd"] = "encodec_msstftd"
        n_ffts: tuple[int, ...] = (2048, 1024, 512)
        width: int = 32

        def __post_init__(self) -> None:
            object.__setattr__(self, "n_ffts", tuple(self.n_ffts))

    def __init__(self, config: Config, *, channels: int) -> None:
        super().__init__()
        install()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # encodec 0.1.1 uses torch's older weight_norm
            from encodec.msstftd import MultiScaleSTFTDiscriminator

            self.config = config
            self.network = MultiScaleSTFTDiscriminator(
                config.width,
                in_channels=channels,
                n_ffts=list(config.n_ffts),
                win_lengths=list(config.n_ffts),
                hop_lengths=[n_fft // 4 for n_fft in config.n_ffts],
            )

    def forward(self, audio: Tensor) -> list[Verdict]:
        logits, features = self.network(audio)
        return [
            Verdict(logits=one, features=tuple(hidden)) for one, hidden in zip(logits, features, strict=True)
        ]
