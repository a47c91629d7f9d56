"""Stable Audio Open 1.0 (Evans et al., 2024, arXiv 2407.14358): sound and music by latent diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from calm.baselines.base import About, InProcess, Request, captioned, reported
from calm.baselines.pipelines import Precision, cut, load, pick_device
from calm.registry import register
from calm.types import Task, Waveform

__all__ = ["StableAudioOpen"]


@register("baseline", "stable_audio_open")
class StableAudioOpen(InProcess):
    """Stable Audio Open: sound and music in stereo, up to 47 s, by diffusers.

    Settings: 100 steps and guidance 7 (its model card and the pipeline's defaults), the negative prompt of diffusers'
    page. Its sampler needs the package torchsde as well, and its weights an accepted licence.

    Verified by running a tiny random pipeline of the same classes from a folder, with another sampler. Not run with real
    weights here.
    """

    about = About(
        title="Stable Audio Open",
        url="https://huggingface.co/stabilityai/stable-audio-open-1.0",
        code_licence="Apache-2.0 (diffusers)",
        weights_licence="Stability AI Community Licence",
        scope="sound",
        interface="diffusers, in this process",
    )
    published = reported(
        audiocaps=captioned(4.13, 0.25, 3.65, 3.45),
        song_describer=captioned(2.23, 0.32, 3.95, 3.85),
    )
    tasks = (Task.SOUND, Task.MUSIC)

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["stable_audio_open"] = "stable_audio_open"
        weights: str = "stabilityai/stable-audio-open-1.0"
        num_steps: int = 100
        guidance: float = 7.0
        negative_prompt: str = "Low quality."
        seconds: float = 10.0
        max_seconds: float = 47.0
        precision: Precision = "float32"
        device: str = "auto"

    def load(self) -> None:
        self._pipeline = load(self._from_pretrained, weights=self.config.weights, package="diffusers", also="torchsde")

    def _from_pretrained(self) -> Any:
        from diffusers import StableAudioPipeline

        pipeline = StableAudioPipeline.from_pretrained(self.config.weights)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(pick_device(self.config.device), getattr(torch, self.config.precision))

    def make(self, request: Request) -> Waveform:
        config = self.config
        seconds = min(request.seconds or config.seconds, config.max_seconds)
        found = self._pipeline(
            request.text,
            negative_prompt=config.negative_prompt or None,
            num_inference_steps=config.num_steps,
            guidance_scale=config.guidance,
            audio_end_in_s=seconds,
            generator=torch.Generator("cpu").manual_seed(request.seed),
        )
        return cut(found.audios[0], sample_rate=self._pipeline.vae.sampling_rate, seconds=seconds)
