"""Spectrograms and heat maps as PNG data URIs: one pixel per cell, stretched by the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.image import imsave

from calm.audio import mel_spectrogram
from calm.types import Waveform

__all__ = ["NUM_MELS", "RANGE_DB", "heat_maps", "spectrogram_files", "spectrograms"]

NUM_MELS = 80
FRAMES_PER_SECOND = 60
#: what lies this far below the loudest cell of a group is drawn like silence
RANGE_DB = 70.0
SPECTRUM_COLOURS, LATENT_COLOURS = "magma", "RdBu_r"


def spectrograms(waveforms: Sequence[Waveform]) -> list[str]:
    """Return a log-mel spectrogram of each clip; the clips of one call share the scale of loudness."""
    return [_uri(data) for data in spectrogram_files(waveforms)]


def spectrogram_files(waveforms: Sequence[Waveform]) -> list[bytes]:
    """The same pictures as the bytes of PNG files."""
    levels = [_mel_db(waveform) for waveform in waveforms]
    top = max(float(level.max()) for level in levels)
    return [_png(level, low=top - RANGE_DB, high=top, colours=SPECTRUM_COLOURS) for level in levels]


def heat_maps(latents: Sequence[np.ndarray], *, limit: float) -> list[str]:
    """Return a picture of each [F, C] array, channels upwards; colours span -limit..limit."""
    return [_uri(_png(values.T, low=-limit, high=limit, colours=LATENT_COLOURS)) for values in latents]


def _mel_db(waveform: Waveform) -> np.ndarray:
    """Mel magnitudes in decibels, [mels, frames]."""
    mono = waveform.audio.mean(dim=0)
    magnitude = mel_spectrogram(
        mono,
        sample_rate=waveform.sample_rate,
        n_fft=_window(waveform.sample_rate),
        hop=max(1, waveform.sample_rate // FRAMES_PER_SECOND),
        num_mels=NUM_MELS,
    )
    return (20 * torch.log10(magnitude.clamp_min(1e-7))).numpy()


def _window(sample_rate: int) -> int:
    """Samples of about 64 ms, a power of two."""
    return 1 << round(np.log2(0.064 * sample_rate))


def _png(values: np.ndarray, *, low: float, high: float, colours: str) -> bytes:
    buffer = io.BytesIO()
    imsave(buffer, values, vmin=low, vmax=high, cmap=colours, origin="lower", format="png")
    return buffer.getvalue()


def _uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
