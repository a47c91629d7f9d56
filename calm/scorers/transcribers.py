"""Recognisers of the field, by transformers: Whisper and HuBERT with CTC. Greedy, so that a clip has one transcript."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from calm._torchaudio import install
from calm.audio import resample, to_channels
from calm.scorers.pieces import split_quietly
from calm.scorers.weights import Weights
from calm.types import Waveform

__all__ = ["HUBERT_FILES", "SAMPLE_RATE", "WHISPER_FILES", "HubertCTC", "Transcriber", "Whisper"]

SAMPLE_RATE = 16_000
WHISPER_FILES = (
    "config.json", "generation_config.json", "preprocessor_config.json", "tokenizer_config.json",
    "tokenizer.json", "model.safetensors",
)  # fmt: skip
HUBERT_FILES = (
    "config.json", "preprocessor_config.json", "tokenizer_config.json", "vocab.json", "pytorch_model.bin|model.safetensors",
)  # fmt: skip
#: attention over a whole recording grows with its square
HUBERT_MAX_SECONDS = 30.0


class Transcriber(Protocol):
    """A recogniser of one clip at a time, any rate and channels."""

    def transcribe(self, clip: Waveform) -> str: ...


class Whisper:
    """Whisper (Radford et al., 2022, arXiv 2212.04356), greedy, without time stamps, without fallback temperatures.

    Recordings over 30 s are cut in pauses; a piece knows nothing of the one before.

    Args:
        language: as the tokenizer names it, for example ``english``; not used by models of English alone.
    """

    def __init__(self, weights: Weights, *, language: str = "english", device: str = "cpu") -> None:
        install()
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        folder, self._device = weights.folder, device
        self._processor = WhisperProcessor.from_pretrained(folder, local_files_only=True)
        # Stored as half precision; the protocol of Seed-TTS-eval computes in float32.
        model = WhisperForConditionalGeneration.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        self._model = model.to(device).eval()
        is_multilingual = getattr(model.generation_config, "is_multilingual", True)
        self._prompt = {"language": language, "task": "transcribe"} if is_multilingual else {}

    def transcribe(self, clip: Waveform) -> str:
        features = self._processor.feature_extractor
        pieces = split_quietly(_mono(clip), sample_rate=SAMPLE_RATE, max_seconds=features.n_samples / SAMPLE_RATE)
        return " ".join(self._piece(piece) for piece in pieces).strip()

    @torch.no_grad()
    def _piece(self, audio: Tensor) -> str:
        inputs = self._processor(
            audio.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True
        ).to(self._device)
        found = self._model.generate(**inputs, **self._prompt, num_beams=1, do_sample=False, return_timestamps=False)
        text: str = self._processor.batch_decode(found, skip_special_tokens=True)[0]
        return text.strip()


class HubertCTC:
    """HuBERT fine-tuned for CTC (Hsu et al., 2021, arXiv 2106.07447): the best label of every frame, no language model."""

    def __init__(self, weights: Weights, *, device: str = "cpu") -> None:
        install()
        from transformers import HubertForCTC, Wav2Vec2Processor

        folder, self._device = weights.folder, device
        self._processor = Wav2Vec2Processor.from_pretrained(folder, local_files_only=True)
        self._model = HubertForCTC.from_pretrained(folder, local_files_only=True, dtype=torch.float32).to(device).eval()

    def transcribe(self, clip: Waveform) -> str:
        pieces = split_quietly(_mono(clip), sample_rate=SAMPLE_RATE, max_seconds=HUBERT_MAX_SECONDS)
        return " ".join(self._piece(piece) for piece in pieces).strip()

    @torch.no_grad()
    def _piece(self, audio: Tensor) -> str:
        inputs: Any = self._processor(audio.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        labels = self._model(inputs.input_values.to(self._device)).logits.argmax(dim=-1)
        text: str = self._processor.batch_decode(labels.cpu(), skip_special_tokens=True)[0]
        return text.strip()


def _mono(clip: Waveform) -> Tensor:
    return to_channels(resample(clip, SAMPLE_RATE), 1).audio[0].float().cpu()
