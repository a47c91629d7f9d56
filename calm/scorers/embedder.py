"""What every embedder of audio is: a clip becomes rows of numbers, and it says what these depend on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from calm.audio import resample, to_channels
from calm.errors import InputError
from calm.scorers.hub import hash_of
from calm.types import Waveform

__all__ = ["Embedder", "EmbeddingConfig", "EmbeddingName", "mono", "origin"]

EmbeddingName = Literal["mel", "motion", "vggish", "panns", "clap"]


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig:
    """Which embedding, and where its weights are: ``folder`` if it is given, else ``repo`` of the hub.

    ``mel`` and ``motion`` have no weights. ``vggish`` and ``panns`` were not published on the hub and need one of the two options.
    """

    embedding: EmbeddingName = "motion"
    repo: str | None = None
    revision: str | None = None
    folder: str | None = None


class Embedder(ABC):
    """Waveform -> float64 [n, D]: one row for each window of the clip, at least one.

    Class attributes: ``sample_rate`` in Hz to which clips are resampled, ``width`` D of a row. The rows depend on the
    clip alone. Silence is embedded like anything else: a system that falls silent is not to gain by it.
    """

    sample_rate: int
    width: int
    #: name in keys of result files, ``fad_vggish``
    name: ClassVar[EmbeddingName]

    @abstractmethod
    def embed(self, clip: Waveform) -> np.ndarray:
        """Embed a clip of any rate and channels. Raises InputError where it is empty, or not finite."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Windows, front end and weights, as JSON values."""

    def describe(self) -> dict[str, Any]:
        """What the rows depend on, as JSON values for result files."""
        return {
            "scorer": self.name,
            "dimensions": self.width,
            "sample_rate": self.sample_rate,
            "resampling": "soxr HQ",
            "channels": "mean",
            **self.settings(),
        }


def mono(clip: Waveform, *, sample_rate: int) -> Tensor:
    """The mean of the channels at ``sample_rate`` Hz, float32 [S]. Raises InputError without samples, or not finite."""
    if clip.audio.numel() == 0:
        raise InputError("The clip has no samples", where="Embedder.embed")
    if not bool(clip.audio.isfinite().all()):
        raise InputError("The clip holds a value that is not finite", where="Embedder.embed")
    return resample(to_channels(clip, 1), sample_rate).audio[0].float().cpu()


def origin(weights: Path, *, repo: str | None) -> dict[str, Any]:
    """Where weights come from: repository and commit of the hub where they are known, name of the file, SHA-256."""
    commit = weights.parent.name if weights.parent.parent.name == "snapshots" else None
    return {"repo": repo, "revision": commit, "file": weights.name, "sha256": hash_of(weights)}
