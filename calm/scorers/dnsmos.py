"""DNSMOS (Reddy et al., 2021, arXiv 2010.15258, and 2022, arXiv 2110.01763): opinions that a network predicts.

The two networks are the ONNX files that the package speechmos ships. The package itself is not imported: it needs
librosa and requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from calm.audio import mel_spectrogram, resample, to_channels
from calm.scorers.optional import find_file, need
from calm.types import Waveform

__all__ = ["DNSMOS", "Opinion", "model_paths"]

SAMPLE_RATE = 16_000
#: samples of a window (9.01 s) and between windows
WINDOW, STEP = 144_160, 16_000
#: the second network hears 10 ms less, as mel energies
MEL_CUT, N_FFT, HOP, NUM_MELS, RANGE_DB = 160, 321, 160, 120, 80.0
#: from a raw output to an opinion, highest power first: speech, background, all
POLYNOMIALS = (
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """Predicted opinions from 1 to 5: of the speech, the background and all (ITU-T P.835), and of all by P.808."""

    sig: float
    bak: float
    ovrl: float
    p808: float


def model_paths() -> tuple[Path, Path]:
    """The files of the two networks, P.835 and P.808. Raises ConfigError where speechmos is missing."""
    p835, p808 = (find_file("speechmos", f"dnsmos_models/{name}.onnx") for name in ("sig_bak_ovr", "model_v8"))
    return p835, p808


class DNSMOS:
    """Scores clips of any rate, channels and length. Raises ConfigError where speechmos or onnxruntime is missing."""

    def __init__(self) -> None:
        runtime = need("onnxruntime")
        options = runtime.SessionOptions()
        # Figures must not depend on the number of cores.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self._p835, self._p808 = (
            runtime.InferenceSession(str(path), sess_options=options, providers=providers) for path in model_paths()
        )

    def score(self, clip: Waveform) -> Opinion:
        """Mean over windows of 9.01 s, one each second; shorter clips are repeated."""
        audio = _repeated(to_channels(resample(clip, SAMPLE_RATE), 1).audio[0].float().clamp(-1, 1).numpy())
        found = np.array([self._window(audio[start : start + WINDOW]) for start in _starts(len(audio))])
        sig, bak, ovrl, p808 = (float(x) for x in found.mean(axis=0))
        return Opinion(sig=sig, bak=bak, ovrl=ovrl, p808=p808)

    def _window(self, audio: np.ndarray) -> list[float]:
        raw = _run(self._p835, audio[None])[0]
        opinions = [float(np.polyval(p, x)) for p, x in zip(POLYNOMIALS, raw.astype(np.float64), strict=True)]
        return [*opinions, float(_run(self._p808, _mel(audio[:-MEL_CUT])[None])[0, 0])]


def _starts(samples: int) -> list[int]:
    """First samples of the windows that the package hears.

    It computes a window's end in seconds, in floating point, and leaves out windows that come out a sample short: those
    from 7 to 23 s, and a few later. Published figures have this gap; so have ours, to compare.
    """
    seconds = WINDOW / SAMPLE_RATE
    count = int(samples // SAMPLE_RATE - seconds) + 1
    return [n * STEP for n in range(count) if int((n + seconds) * SAMPLE_RATE) - n * STEP == WINDOW]


def _repeated(audio: np.ndarray) -> np.ndarray:
    """A clip doubled until it fills a window."""
    while len(audio) < WINDOW:
        audio = np.tile(audio, 2)
    return audio


def _run(session: Any, inputs: np.ndarray) -> np.ndarray:
    outputs: np.ndarray = session.run(None, {"input_1": inputs.astype(np.float32)})[0]
    return outputs


def _mel(audio: np.ndarray) -> np.ndarray:
    """Mel energies in dB below the loudest, at most 80, scaled; [frames, 120]."""
    energies = mel_spectrogram(
        torch.from_numpy(audio), sample_rate=SAMPLE_RATE, n_fft=N_FFT, hop=HOP, num_mels=NUM_MELS, power=2.0
    ).numpy()
    decibels = 10 * np.log10(np.maximum(energies, 1e-10))
    decibels -= decibels.max()
    return (np.maximum(decibels, -RANGE_DB).T + 40) / 40
