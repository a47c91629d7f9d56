"""Speaker embeddings of WavLM (Chen et al., 2022, arXiv 2110.13900): with ECAPA-TDNN's head, and with x-vectors.

The first is ``wavlm_large_finetune.pth`` of Microsoft's UniSpeech, by which Seed-TTS-eval, F5-TTS and most zero-shot
TTS papers measure SIM. Its file holds the fine-tuned WavLM too, so that nothing else is loaded.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from calm._torchaudio import install
from calm.audio import resample, to_channels
from calm.errors import CheckpointError
from calm.scorers.ecapa import head_from
from calm.scorers.fairseq import encoder_from, normalised
from calm.scorers.hub import load_state
from calm.scorers.weights import Weights
from calm.types import Waveform

__all__ = ["ECAPA_FILES", "XVECTOR_FILES", "WavLMSpeaker", "WavLMXVector"]

SAMPLE_RATE = 16_000
ECAPA_FILES = ("speaker_similarity/wavlm_large_finetune.pth|wavlm_large_finetune.pth",)
XVECTOR_FILES = ("config.json", "preprocessor_config.json", "pytorch_model.bin|model.safetensors")
#: names of the encoder in the checkpoint; what trained it and is not needed to embed
ENCODER, TRAINING = "feature_extract.model.", "loss_calculator."


class WavLMSpeaker(nn.Module):
    """Waveform -> unit vector [256]: a learned mean of WavLM's layers, then ECAPA-TDNN's head.

    Raises CheckpointError where the file is not such a checkpoint.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        state = {name: value for name, value in load_state(path).items() if not name.startswith(TRAINING)}
        encoder = {name.removeprefix(ENCODER): value for name, value in state.items() if name.startswith(ENCODER)}
        head = {name: value for name, value in state.items() if not name.startswith(ENCODER)}
        try:
            self.layer_weights = nn.Parameter(head.pop("feature_weight").float())
            self.head, self.encoder = head_from(head), encoder_from(encoder)
        except (KeyError, CheckpointError) as error:
            what = getattr(error, "what", f"no {error}")
            raise CheckpointError(f"This is no WavLM speaker verification checkpoint: {what}", where=path) from None
        self.is_large = self.encoder.config.do_stable_layer_norm
        self.eval()

    @torch.no_grad()
    def embed(self, clip: Waveform) -> Tensor:
        """Embed a clip of any rate and channels; float32 [256], on the CPU."""
        audio = _mono(clip).to(self.layer_weights.device)
        return functional.normalize(self(normalised(audio) if self.is_large else audio), dim=0).cpu()

    def forward(self, audio: Tensor) -> Tensor:
        """Prepared samples [S] at 16 kHz -> embedding [256], not normalised."""
        found = self.encoder(audio[None], output_hidden_states=True)
        # What enters each layer, and what the encoder returns: after its last normalisation, which transformers' own
        # list leaves out.
        layers = torch.cat([*found.hidden_states[:-1], found.last_hidden_state])  # [L + 1, F, D]
        mixed = torch.einsum("l, l f d -> d f", self.layer_weights.softmax(dim=0), layers)
        return self.head(mixed[None] + 1e-6)[0]


class WavLMXVector:
    """Waveform -> unit vector [512] by ``WavLMForXVector`` of transformers (x-vectors: Snyder et al., 2018)."""

    def __init__(self, weights: Weights, *, device: str = "cpu") -> None:
        install()
        from transformers import Wav2Vec2FeatureExtractor, WavLMForXVector

        folder, self._device = weights.folder, device
        self._features = Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True)
        model = WavLMForXVector.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        self._model = model.to(device).eval()

    @torch.no_grad()
    def embed(self, clip: Waveform) -> Tensor:
        """Embed a clip of any rate and channels, at least 0.33 s; float32 [512], on the CPU."""
        inputs = self._features(_mono(clip).numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        found = self._model(inputs.input_values.to(self._device)).embeddings[0]
        return functional.normalize(found, dim=0).cpu()


def _mono(clip: Waveform) -> Tensor:
    return to_channels(resample(clip, SAMPLE_RATE), 1).audio[0].float().cpu()
