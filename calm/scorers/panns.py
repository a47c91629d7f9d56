"""CNN14 of PANNs (Kong et al., 2020, arXiv 1912.10211): an embedding, and posteriors of the 527 classes of AudioSet.

Weights are the published ones, by their names: ``Cnn14_16k_mAP=0.438.pth`` or ``Cnn14_mAP=0.431.pth`` (32 kHz) of
zenodo.org/records/3987831. The rate follows from the file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional

from calm.errors import CheckpointError
from calm.scorers.embedder import Embedder, mono, origin
from calm.scorers.hub import find_weights, load_state
from calm.types import Waveform

__all__ = ["Cnn14", "Panns"]

#: the first that is there is taken
FILES = ("Cnn14_16k_mAP=0.438.pth", "Cnn14_mAP=0.431.pth")
HINT = f"{' and '.join(FILES)} are at zenodo.org/records/3987831; one of them is enough"
#: samples of the FFT -> sample rate and hop
RATES = {512: (16_000, 160), 1024: (32_000, 320)}
NUM_MELS, NUM_CLASSES, FLOOR = 64, 527, 1e-10
#: samples to which shorter clips are padded with silence, at either rate (audioldm_eval)
SHORTEST = 32_000


class Panns(Embedder):
    """One row for the whole clip, D = 2048; a clip shorter than 32,000 samples is padded with silence to these."""

    name = "panns"

    def __init__(
        self,
        *,
        repo: str | None = None,
        revision: str | None = None,
        folder: str | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Raises ConfigError where the file is not found, CheckpointError where it is no CNN14."""
        found = find_weights(repo, files=["|".join(FILES)], folder=folder, revision=revision, hint=HINT)
        path = next(found / name for name in FILES if (found / name).is_file())
        state = load_state(path)
        try:
            n_fft = 2 * (len(state["logmel_extractor.melW"]) - 1)
            self.sample_rate, hop = RATES[n_fft]
            self._network = Cnn14(width=len(state["conv_block1.bn1.bias"]), n_fft=n_fft, hop=hop)
            counters = [name for name in self._network.state_dict() if name.endswith("num_batches_tracked")]
            needed = self._network.state_dict().keys() - counters
            self._network.load_state_dict({name: state[name] for name in needed}, strict=False)
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(f"These are no weights of CNN14 ({error})", where=path, hint=HINT) from error
        self.width = self._network.fc1.out_features
        self._network.eval().to(device)
        self._device, self._origin = device, origin(path, repo=repo)

    def embed(self, clip: Waveform) -> np.ndarray:
        return self._run(clip)[0].cpu().double().numpy()

    def classify(self, clip: Waveform) -> np.ndarray:
        """Logits of the 527 classes, before the sigmoid, float64 [527]."""
        return self._run(clip)[1][0].cpu().double().numpy()

    @torch.no_grad()
    def _run(self, clip: Waveform) -> tuple[Tensor, Tensor]:
        audio = mono(clip, sample_rate=self.sample_rate)
        audio = functional.pad(audio, (0, max(0, SHORTEST - len(audio))))
        return self._network(audio[None].to(self._device))

    def settings(self) -> dict[str, Any]:
        return {"window_seconds": None, "short_clips": "padded with silence to 32,000 samples", **self._origin}


class Cnn14(nn.Module):
    """Audio [B, S] -> embeddings [B, D] and logits [B, 527]; S above half of ``n_fft``.

    ``width``: channels of the first block, 64 as published; D is 32 times as much. Filters of the log-mel front end
    are read from the checkpoint, the Fourier matrices that it holds too are not needed.
    """

    def __init__(self, *, width: int = 64, n_fft: int = 512, hop: int = 160) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.logmel_extractor = nn.Module()
        self.logmel_extractor.melW = nn.Parameter(torch.zeros(n_fft // 2 + 1, NUM_MELS), requires_grad=False)
        self.bn0 = nn.BatchNorm2d(NUM_MELS)
        sizes = [1, *(width * 2**i for i in range(6))]
        for number in range(1, 7):
            setattr(self, f"conv_block{number}", ConvBlock(sizes[number - 1], sizes[number]))
        self.fc1 = nn.Linear(sizes[-1], sizes[-1])
        self.fc_audioset = nn.Linear(sizes[-1], NUM_CLASSES)

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        found = rearrange(self.log_mel(audio), "b n m -> b m n 1")
        found = rearrange(self.bn0(found), "b m n 1 -> b 1 n m")
        for number in range(1, 7):
            found = getattr(self, f"conv_block{number}")(found)
            found = functional.avg_pool2d(found, 2) if number < 6 else found
        found = reduce(found, "b c n m -> b c n", "mean")
        embedding = self.fc1(found.amax(dim=-1) + found.mean(dim=-1)).relu()
        return embedding, self.fc_audioset(embedding)

    def log_mel(self, audio: Tensor) -> Tensor:
        """10 log10 of mel energies, at least 1e-10, [B, N, 64]: Hann window, centred frames, mirrored ends."""
        window = torch.hann_window(self.n_fft, device=audio.device)
        spectrum = torch.stft(
            audio, self.n_fft, hop_length=self.hop, window=window, pad_mode="reflect", return_complex=True
        )  # [B, n_fft // 2 + 1, N]
        energies = rearrange(spectrum.abs().square(), "b f n -> b n f") @ self.logmel_extractor.melW
        return 10 * energies.clamp(min=FLOOR).log10()


class ConvBlock(nn.Module):
    """Two convolutions of 3 x 3, each with batch norm and ReLU: [B, C, N, M] -> [B, C', N, M]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)

    def forward(self, found: Tensor) -> Tensor:
        found = self.bn1(self.conv1(found)).relu()
        return self.bn2(self.conv2(found)).relu()
