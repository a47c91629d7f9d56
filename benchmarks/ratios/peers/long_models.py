"""MusicGen-small's decoder and a diffusion transformer like Stable Audio's: processor seconds of a second of audio."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.ratios.readings import peer_module

__all__ = ["MODELS", "LongModel"]

#: both guide, so that a step is a batch of two
BRANCHES = 2


@dataclass(frozen=True, kw_only=True)
class LongModel:
    """``step`` is one evaluation of the network; so many of them make a second of audio."""

    title: str
    million: float
    step: Callable[[], object]
    steps_per_second: float

    def cpu_of_a_second(self) -> float:
        with torch.no_grad():
            self.step()
            started = time.process_time()
            self.step()
            return (time.process_time() - started) * self.steps_per_second


def _million(model: torch.nn.Module) -> float:
    return sum(p.numel() for p in model.parameters()) / 1e6


def music_gen() -> LongModel:
    """The decoder of `transformers` with its default configuration, which is MusicGen-small: 50 steps a second."""
    musicgen = peer_module("transformers", install="pip install 'transformers>=5'")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = musicgen.MusicgenForCausalLM(musicgen.MusicgenDecoderConfig()).eval()
    ids = torch.zeros(BRANCHES * model.config.num_codebooks, 1, dtype=torch.int64)
    words = torch.zeros(BRANCHES, 20, model.config.hidden_size)
    return LongModel(
        title="MusicGen-small, decoder only",
        million=_million(model),
        step=lambda: model(ids, encoder_hidden_states=words, use_cache=True),
        steps_per_second=50.0,
    )


def diffusion_transformer() -> LongModel:
    """`StableAudioDiTModel` of `diffusers`, 13 layers of 768: a clip of 10 s at once, 50 steps."""
    diffusers = peer_module("diffusers", install="pip install -e '.[bench]'")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = diffusers.StableAudioDiTModel(num_layers=13, num_attention_heads=12, num_key_value_attention_heads=6).eval()
    seconds, frames, head_dim = 10.0, 216, 32
    latents, words = torch.zeros(BRANCHES, 64, frames), torch.zeros(BRANCHES, 20, 768)
    angles = torch.zeros(frames + 1, head_dim)
    return LongModel(
        title="Stable-Audio-style DiT, 50 steps",
        million=_million(model),
        step=lambda: model(
            latents,
            torch.ones(BRANCHES),
            encoder_hidden_states=words,
            global_hidden_states=torch.zeros(BRANCHES, 1, 1536),
            rotary_embedding=(angles.cos(), angles.sin()),
        ),
        steps_per_second=50 / seconds,
    )


MODELS: dict[str, Callable[[], LongModel]] = {"musicgen": music_gen, "dit": diffusion_transformer}
