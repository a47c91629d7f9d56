"""Latents in shards: the bytes of ``KEY.npy``, excerpts of them, and which model may train on them.

A clip is encoded whole and cut afterwards. That is not exactly the same as encoding the excerpt: the encoder
is not causal, so frames near a cut have seen what lies beyond it, while an excerpt of a waveform ends in
silence. The difference reaches as far as the encoder sees (about ten frames in `stft_vae` as the demo has it,
0.3 of the latents' spread at the cut itself and below 0.01 from the next frame on); whole clips have none.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from calm.errors import DataError
from calm.types import Latents

__all__ = [
    "LATENT_EXTENSION",
    "SPARE_FRAMES",
    "LatentFormat",
    "check_hash",
    "excerpt",
    "frame_start",
    "num_frames",
    "read_npy",
    "to_npy",
]

LATENT_EXTENSION = "npy"
#: frames kept after the last one with signal, so that a clip can be cut to blocks of any size up to 16
SPARE_FRAMES = 15
#: characters of a hash that a message shows
SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class LatentFormat:
    """What all latents of a shard share: ``vae`` is the hash of the encoder; C = ``dim``; ``hop`` samples a frame."""

    vae: str
    sample_rate: int
    hop: int
    dim: int

    def __post_init__(self) -> None:
        sizes = (self.sample_rate, self.hop, self.dim)
        if not isinstance(self.vae, str) or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f"latents are described as {vars(self)}")

    @classmethod
    def of(cls, record: dict[str, Any], *, where: object) -> LatentFormat:
        """Read it from a valid record; raises DataError where the record does not describe latents."""
        if "latents" not in record:
            what = "KEY.json does not say how the latents were made"
            raise DataError(what, where=where, hint="encode the shard again")
        return cls(**{name: record["latents"][name] for name in cls.__dataclass_fields__})

    def describe(self, *, num_samples: int, level_dbfs: float) -> dict[str, Any]:
        """Return ``latents`` of a clip's record."""
        return {
            **vars(self),
            "frame_rate": self.sample_rate / self.hop,
            "num_samples": num_samples,
            "level_dbfs": round(level_dbfs, 2),
        }


def num_frames(num_samples: int, hop: int) -> int:
    """Return the frames that hold a signal of ``num_samples``."""
    return -(-num_samples // hop)


def to_npy(means: np.ndarray) -> bytes:
    """Return the bytes of ``KEY.npy``, float16."""
    buffer = io.BytesIO()
    np.save(buffer, means.astype(np.float16), allow_pickle=False)
    return buffer.getvalue()


def read_npy(data: bytes, record: dict[str, Any], *, where: object) -> np.ndarray:
    """Return the latents float16 [F + 15, C] of ``KEY.npy``; raises DataError unless they are what the record says."""
    form = LatentFormat.of(record, where=where)
    expected = (num_frames(record["latents"]["num_samples"], form.hop) + SPARE_FRAMES, form.dim)
    header = _header(expected)
    try:
        if data.startswith(header) and len(data) == len(header) + 2 * expected[0] * expected[1]:
            means = np.frombuffer(data, dtype="<f2", offset=len(header)).reshape(expected)
        else:  # other bytes may mean the same, and a wrong array is to be named; not np.load, which opens pickles as well
            means = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # NumPy hands the header to Python's parser, whose errors are of many kinds
        what = f"The latents cannot be read ({type(error).__name__}: {error})"
        raise DataError(what, where=where, hint="encode the shard again") from error
    if means.dtype != np.float16 or means.shape != expected:
        raise DataError(
            f"The latents are {means.dtype} {list(means.shape)}, KEY.json promises float16 {list(expected)}",
            where=where,
            hint="encode the shard again",
        )
    if not np.isfinite(means).all():
        raise DataError("The latents hold a value that is not finite", where=where, hint="encode the shard again")
    return means


@functools.lru_cache(maxsize=4096)
def _header(shape: tuple[int, int]) -> bytes:
    """The header that ``to_npy`` writes for a shape; NumPy parses one as Python, which takes longer than the rest."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f2", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def excerpt(
    means: np.ndarray, record: dict[str, Any], *, start_seconds: float = 0.0, max_seconds: float | None = None
) -> Latents:
    """Cut an excerpt from the latents of a clip; it starts at the whole frame at or before ``start_seconds``."""
    rate, hop, total = (record["latents"][name] for name in ("sample_rate", "hop", "num_samples"))
    start = min(_first_frame(start_seconds, rate=rate, hop=hop), num_frames(total, hop) - 1)
    size = total - start * hop
    if max_seconds is not None:
        size = min(size, max(1, round(max_seconds * rate)))
    kept = means[start : start + num_frames(size, hop) + SPARE_FRAMES]
    return Latents(means=torch.from_numpy(kept.astype(np.float32)), num_samples=size, sample_rate=rate, hop=hop)


def frame_start(start_seconds: float, latents: Latents) -> float:
    """Return the second at which the excerpt that ``excerpt`` cuts at ``start_seconds`` begins."""
    first = _first_frame(start_seconds, rate=latents.sample_rate, hop=latents.hop)
    return first * latents.hop / latents.sample_rate


def _first_frame(start_seconds: float, *, rate: int, hop: int) -> int:
    return int(start_seconds * rate / hop)


def check_hash(found: LatentFormat, *, expected: str | None, where: object) -> None:
    """Raise DataError unless latents were made by the VAE ``expected``; None is a model that trains on waveforms."""
    if expected is None:
        raise DataError(
            "The shards hold latents, but this model trains on waveforms",
            where=where,
            hint="give it the audio shards that the latents were encoded from",
        )
    if found.vae != expected:
        raise DataError(
            f"The shards hold latents of VAE {found.vae[:SHOWN]}, but the model's VAE is {expected[:SHOWN]}",
            where=where,
            hint="set vae_ckpt_path to the VAE that made them, or encode again: "
            "calm shards encode AUDIO_SHARDS OUT --vae DIR",
        )
