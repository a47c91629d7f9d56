"""Decoders of other codecs with random weights: a call that decodes a few seconds, and how many."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.ratios.readings import peer_module

__all__ = ["encodec_48k", "mimi", "oobleck"]

Decoding = tuple[Callable[[], object], float]


def _quiet(run: Callable[[], object]) -> Callable[[], object]:
    return torch.no_grad()(run)


def _seeded(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval()


def oobleck() -> Decoding:
    """The autoencoder of Stable Audio Open, as `diffusers` has it: 1 s."""
    diffusers = peer_module("diffusers", install="pip install -e '.[bench]'")
    model = _seeded(diffusers.AutoencoderOobleck)
    latents = torch.zeros(1, 64, round(model.sampling_rate / model.hop_length))
    return _quiet(lambda: model.decode(latents)), latents.shape[-1] * model.hop_length / model.sampling_rate


def encodec_48k() -> Decoding:
    """EnCodec's 48 kHz stereo decoder alone, without reading its codebooks: 3 s."""
    transformers = peer_module("transformers", install="pip install 'transformers>=5'")
    config = transformers.EncodecConfig(
        sampling_rate=48_000, audio_channels=2, normalize=True, chunk_length_s=1.0, overlap=0.01,
        norm_type="time_group_norm", use_causal_conv=False, target_bandwidths=[3.0, 6.0, 12.0, 24.0],
    )  # fmt: skip
    decoder = _seeded(lambda: transformers.EncodecModel(config)).decoder
    latents = torch.zeros(1, config.hidden_size, 3 * 150)
    return _quiet(lambda: decoder(latents)), 3.0


def mimi() -> Decoding:
    """Mimi's decoder with its transformer, 24 kHz mono: 3 s."""
    transformers = peer_module("transformers", install="pip install 'transformers>=5'")
    model = _seeded(lambda: transformers.MimiModel(transformers.MimiConfig()))
    codes = torch.zeros(1, model.config.num_quantizers, round(3 * model.config.frame_rate), dtype=torch.int64)
    return _quiet(lambda: model.decode(codes)), codes.shape[-1] / model.config.frame_rate
