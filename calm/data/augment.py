"""Changes of the target audio in training, chosen by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from calm.errors import UnknownNameError, did_you_mean

__all__ = ["AUGMENTATIONS", "augmentation"]

Augmentation = Callable[[Tensor, np.random.Generator], Tensor]
GAIN_DB = 6.0


def unchanged(audio: Tensor, rng: np.random.Generator) -> Tensor:
    """Leave the audio [A, S] alone."""
    return audio


def random_gain(audio: Tensor, rng: np.random.Generator) -> Tensor:
    """Make audio [A, S] up to 6 dB louder or softer, never louder than full scale."""
    gain = 10 ** (float(rng.uniform(-GAIN_DB, GAIN_DB)) / 20)
    peak = float(audio.abs().max()) if audio.numel() else 0.0
    return audio * (min(gain, max(1.0, 1.0 / peak)) if peak > 0 else gain)


AUGMENTATIONS: dict[str, Augmentation] = {"none": unchanged, "gain": random_gain}


def augmentation(name: str) -> Augmentation:
    """Return the augmentation called ``name``; raises UnknownNameError."""
    if name not in AUGMENTATIONS:
        raise UnknownNameError(
            f"Unknown augmentation '{name}'. {did_you_mean(name, AUGMENTATIONS) or ''}".strip(),
            where="data.augmentation",
            allowed=AUGMENTATIONS,
        )
    return AUGMENTATIONS[name]
