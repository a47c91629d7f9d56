"""Whose voice it is: embeddings of a speaker verification network that nobody here trained.

The network is GE2E (Wan et al., 2018, arXiv 1710.10467) with the weights that the package resemblyzer ships. The
package itself is not imported: it needs modules that no longer exist. Long pauses are not cut out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from calm.audio import level_dbfs, mel_spectrogram, resample, to_channels
from calm.errors import InputError
from calm.scorers.optional import find_file
from calm.types import Waveform

__all__ = ["SpeakerEncoder", "nearest_to_own"]

SAMPLE_RATE, N_FFT, HOP, NUM_MELS = 16_000, 400, 160, 40
#: frames of a window, frames between windows (1.3 windows a second), share of the last window that must be filled
WINDOW, STEP, MIN_COVERAGE = 160, 77, 0.75
LEVEL_DBFS = -30.0
WIDTH, NUM_LAYERS = 256, 3


class SpeakerEncoder(nn.Module):
    """Waveform -> unit vector [256]; the cosine of two is the similarity of their voices.

    Raises ConfigError where the package with the weights is missing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(NUM_MELS, WIDTH, NUM_LAYERS, batch_first=True)
        self.linear = nn.Linear(WIDTH, WIDTH)
        path = find_file("resemblyzer", "pretrained.pt")
        state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        self.load_state_dict({name: state[name] for name in self.state_dict()})
        self.eval()

    @torch.no_grad()
    def embed(self, clip: Waveform) -> Tensor:
        """Embed a clip of any rate: mean of windows of 1.6 s, normalised; float32 [256]."""
        audio = to_channels(resample(clip, SAMPLE_RATE), 1).audio[0].float()
        if not bool(audio.any()):
            raise InputError("A silent clip has no voice", where="SpeakerEncoder.embed")
        audio = audio * 10 ** (max(0.0, LEVEL_DBFS - level_dbfs(audio)) / 20)
        starts = _starts(audio.shape[-1])
        audio = functional.pad(audio, (0, max(0, (starts[-1] + WINDOW) * HOP - audio.shape[-1])))
        mel = mel_spectrogram(audio, sample_rate=SAMPLE_RATE, n_fft=N_FFT, hop=HOP, num_mels=NUM_MELS, power=2.0)
        frames = rearrange(mel, "m n -> n m")
        return functional.normalize(self(torch.stack([frames[s : s + WINDOW] for s in starts])).mean(dim=0), dim=0)

    def forward(self, windows: Tensor) -> Tensor:
        """Mel energies [B, frames, 40] -> unit vectors [B, 256]."""
        _, (hidden, _) = self.lstm(windows)
        return functional.normalize(self.linear(hidden[-1]).relu(), dim=-1)


def nearest_to_own(voice: Tensor, *, own: str, references: Mapping[str, Tensor]) -> bool:
    """Whether an embedding [256] is nearer to its own voice's reference than to each of the others."""
    if own not in references or len(references) < 2:
        raise InputError(f"The trial of '{own}' needs its own reference and at least one other", where="references")
    scores = {name: float(voice @ reference) for name, reference in references.items()}
    return all(scores[own] > score for name, score in scores.items() if name != own)


def _starts(samples: int) -> list[int]:
    """First frames of the windows: all that are filled to three quarters, and at least one."""
    frames = math.ceil((samples + 1) / HOP)
    starts = list(range(0, max(1, frames - WINDOW + STEP + 1), STEP))
    covered = (samples / HOP - starts[-1]) / WINDOW
    return starts[:-1] if len(starts) > 1 and covered < MIN_COVERAGE else starts
