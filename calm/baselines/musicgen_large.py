"""MusicGen-Large (Copet et al., 2023, arXiv 2306.05284): music by a language model over EnCodec tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch

from calm.baselines.base import About, InProcess, Request, captioned, reported
from calm.baselines.pipelines import Precision, cut, load, pick_device, seeded
from calm.registry import register
from calm.types import Task, Waveform

__all__ = ["MusicGenLarge"]


@register("baseline", "musicgen_large")
class MusicGenLarge(InProcess):
    """MusicGen-Large: music of up to 30 s, by transformers.

    Settings are those of its model card and of transformers' page: sampling with guidance 3. Verified by running a tiny
    random model of the same classes from a folder. Licence of the weights: its card. Not run with real weights here.
    """

    about = About(
        title="MusicGen-Large",
        url="https://huggingface.co/facebook/musicgen-large",
        code_licence="Apache-2.0 (transformers)",
        weights_licence="CC-BY-NC-4.0",
        scope="music",
        interface="transformers, in this process",
    )
    published = reported(song_describer=captioned(5.28, 0.19, 3.65, 3.45))
    tasks = (Task.MUSIC,)

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["musicgen_large"] = "musicgen_large"
        weights: str = "facebook/musicgen-large"
        guidance: float = 3.0
        seconds: float = 30.0
        max_seconds: float = 30.0
        precision: Precision = "float32"
        device: str = "auto"

    def load(self) -> None:
        self._device = pick_device(self.config.device)
        self._processor, self._model = load(self._from_pretrained, weights=self.config.weights, package="transformers")

    def _from_pretrained(self) -> tuple[Any, Any]:
        from transformers import AutoProcessor, MusicgenForConditionalGeneration

        dtype = getattr(torch, self.config.precision)
        model = MusicgenForConditionalGeneration.from_pretrained(self.config.weights, dtype=dtype)
        return AutoProcessor.from_pretrained(self.config.weights), model.to(self._device).eval()

    @torch.no_grad()
    def make(self, request: Request) -> Waveform:
        codec, seconds = self._model.config.audio_encoder, request.seconds or self.config.seconds
        seconds = min(seconds, self.config.max_seconds)
        # Codebooks are delayed, one step each: the last ones need as many steps more.
        delay = self._model.config.decoder.num_codebooks
        inputs = self._processor(text=[request.text], padding=True, return_tensors="pt").to(self._device)
        with seeded(request.seed, self._device):
            samples = self._model.generate(
                **inputs,
                do_sample=True,
                guidance_scale=self.config.guidance,
                max_new_tokens=math.ceil(seconds * codec.frame_rate) + delay,
            )
        return cut(samples[0], sample_rate=codec.sampling_rate, seconds=seconds)
