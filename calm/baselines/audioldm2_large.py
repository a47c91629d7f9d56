"""AudioLDM 2-Large (Liu et al., 2023, arXiv 2308.05734): sound by latent diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from calm.baselines.base import About, InProcess, Request, captioned, reported
from calm.baselines.pipelines import Precision, cut, load, pick_device
from calm.registry import register
from calm.types import Task, Waveform

__all__ = ["AudioLDM2Large"]


@register("baseline", "audioldm2_large")
class AudioLDM2Large(InProcess):
    """AudioLDM 2-Large: sound, by diffusers.

    Settings are those of its model card: 200 steps, guidance 3.5, the negative prompt "Low quality.". One candidate is
    made: ranking several by CLAP, as the card also shows, would use the score that is measured.

    Verified by running a tiny random pipeline of the same classes from a folder. Licence of the weights: their card. Not
    run with real weights here.
    """

    about = About(
        title="AudioLDM 2-Large",
        url="https://huggingface.co/cvssp/audioldm2-large",
        code_licence="Apache-2.0 (diffusers)",
        weights_licence="CC-BY-NC-SA-4.0",
        scope="sound",
        interface="diffusers, in this process",
    )
    published = reported(audiocaps=captioned(5.36, 0.22, 3.25, 3.10))
    tasks = (Task.SOUND,)

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["audioldm2_large"] = "audioldm2_large"
        weights: str = "cvssp/audioldm2-large"
        num_steps: int = 200
        guidance: float = 3.5
        negative_prompt: str = "Low quality."
        num_candidates: int = 1
        seconds: float = 10.0
        precision: Precision = "float32"
        device: str = "auto"

    def load(self) -> None:
        self._pipeline = load(self._from_pretrained, weights=self.config.weights, package="diffusers")

    def _from_pretrained(self) -> Any:
        from diffusers import AudioLDM2Pipeline

        pipeline = AudioLDM2Pipeline.from_pretrained(self.config.weights)
        pipeline.set_progress_bar_config(disable=True)
        pipeline.language_model = _generating(pipeline.language_model)
        return pipeline.to(pick_device(self.config.device), getattr(torch, self.config.precision))

    def make(self, request: Request) -> Waveform:
        config, seconds = self.config, request.seconds or self.config.seconds
        found = self._pipeline(
            request.text,
            negative_prompt=config.negative_prompt or None,
            num_inference_steps=config.num_steps,
            guidance_scale=config.guidance,
            audio_length_in_s=seconds,
            num_waveforms_per_prompt=config.num_candidates,
            generator=torch.Generator("cpu").manual_seed(request.seed),
        )
        rate = self._pipeline.vocoder.config.sampling_rate
        return cut(found.audios[0], sample_rate=rate, seconds=seconds)


def _generating(language_model: Any) -> Any:
    """The language model with the methods of generation that the pipeline calls.

    The weights are published as a GPT2Model, which lost those methods in newer transformers; as the body of a model with
    a head they are there, and the head is not used.
    """
    if hasattr(language_model, "_update_model_kwargs_for_generation"):
        return language_model
    from transformers import GPT2LMHeadModel

    whole = GPT2LMHeadModel(language_model.config)
    whole.transformer = language_model
    return whole.to(language_model.dtype).eval()
