"""VGGish (Hershey et al., 2017, arXiv 1609.09430): the embedding of the first Frechet audio distances.

Weights are those of the torch port, by their published names: ``vggish-10086976.pth``, an asset of the release v0.1
of github.com/harritaylor/torchvggish. As in the tools for FAD there is no PCA, no quantisation, and no ReLU after the
last layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from calm.errors import CheckpointError
from calm.scorers.embedder import Embedder, mono, origin
from calm.scorers.hub import find_weights, load_state
from calm.types import Waveform

__all__ = ["VGGish", "VGGishNetwork", "log_mel_examples"]

FILE = "vggish-10086976.pth"
HINT = f"{FILE} is an asset of the release v0.1 of github.com/harritaylor/torchvggish"
SAMPLE_RATE, FRAME, HOP, N_FFT = 16_000, 400, 160, 512
NUM_MELS, MIN_HZ, MAX_HZ, LOG_OFFSET = 64, 125.0, 7500.0, 0.01
EXAMPLE = 96
#: samples of the shortest clip with one whole example, 0.975 s
SHORTEST = FRAME + (EXAMPLE - 1) * HOP


class VGGish(Embedder):
    """One row for each whole example of 0.96 s, D = 128.

    What is left after the last whole example is not heard, as in the original. A clip shorter than one example is
    padded with silence to 0.975 s.
    """

    name = "vggish"
    sample_rate = SAMPLE_RATE
    width = 128

    def __init__(
        self,
        *,
        repo: str | None = None,
        revision: str | None = None,
        folder: str | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Raises ConfigError where the file is not found, CheckpointError where it is no VGGish."""
        path = find_weights(repo, files=[FILE], folder=folder, revision=revision, hint=HINT) / FILE
        state = load_state(path)
        try:
            self._network = VGGishNetwork(width=len(state["features.0.bias"]))
            self._network.load_state_dict({name: state[name] for name in self._network.state_dict()})
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(f"These are no weights of VGGish ({error})", where=path, hint=HINT) from error
        self._network.eval().to(device)
        self._device, self._origin = device, origin(path, repo=repo)

    @torch.no_grad()
    def embed(self, clip: Waveform) -> np.ndarray:
        examples = log_mel_examples(mono(clip, sample_rate=SAMPLE_RATE))
        return self._network(examples.float().to(self._device)).cpu().double().numpy()

    def settings(self) -> dict[str, Any]:
        windows = {"window_seconds": EXAMPLE * HOP / SAMPLE_RATE, "hop_seconds": EXAMPLE * HOP / SAMPLE_RATE}
        return {**windows, "short_clips": "padded with silence to 0.975 s", "last_relu": False, "pca": False, **self._origin}


class VGGishNetwork(nn.Module):
    """Log-mel examples [B, 96, 64] -> embeddings [B, 128]. ``width``: channels of the first layer, 64 as published."""

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        # A stage is one or two convolutions and a pooling; the names of the weights count all of these modules.
        for stage in [[1], [2], [4, 4], [8, 8]]:
            for factor in stage:
                layers += [nn.Conv2d(inputs, factor * width, kernel_size=3, padding=1), nn.ReLU()]
                inputs = factor * width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        hidden = 64 * width
        self.embeddings = nn.Sequential(
            nn.Linear(inputs * (EXAMPLE // 16) * (NUM_MELS // 16), hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, VGGish.width),
        )

    def forward(self, examples: Tensor) -> Tensor:
        found = self.features(rearrange(examples, "b n m -> b 1 n m"))
        # The original keeps channels last.
        return self.embeddings(rearrange(found, "b c n m -> b (n m c)"))


def log_mel_examples(audio: Tensor) -> Tensor:
    """Log-mel examples float64 [B, 96, 64] of ``audio`` [S] at 16 kHz: the front end of the original, to the sample.

    Frames of 25 ms every 10 ms, none beyond the end, periodic Hann window, FFT of 512; magnitudes are summed by 64
    triangles between 125 and 7500 Hz that are linear in mel, and log(x + 0.01) is taken.
    """
    audio = functional.pad(audio.double(), (0, max(0, SHORTEST - len(audio))))
    frames = audio.unfold(0, FRAME, HOP) * torch.hann_window(FRAME, dtype=torch.float64)
    magnitudes = torch.fft.rfft(frames, N_FFT).abs()  # [N, 257]
    log_mel = torch.log(magnitudes @ _filters() + LOG_OFFSET)  # [N, 64]
    whole = len(log_mel) // EXAMPLE
    return rearrange(log_mel[: whole * EXAMPLE], "(b n) m -> b n m", n=EXAMPLE)


def _filters() -> Tensor:
    """Triangles in mel (HTK: 1127 ln(1 + f / 700)), float64 [257, 64]; the bin of 0 Hz counts nowhere."""
    bins = _mel(torch.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1, dtype=torch.float64))[:, None]
    low, high = (float(_mel(torch.tensor(hz, dtype=torch.float64))) for hz in (MIN_HZ, MAX_HZ))
    corners = torch.linspace(low, high, NUM_MELS + 2, dtype=torch.float64)
    lower, centre, upper = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (bins - lower) / (centre - lower), (upper - bins) / (upper - centre)
    weights = torch.minimum(rising, falling).clamp(min=0)
    weights[0] = 0
    return weights


def _mel(hz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(hz / 700.0)
