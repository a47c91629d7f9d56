"""The decoder's layers for inference against those that they are made of."""

from __future__ import annotations

import copy

import pytest
import torch

from calm.registry import build
from calm.vae.attention import WindowedAttention
from calm.vae.fused import FusedDecoder
from calm.vae.layers import CausalConv
from tests.factory import UNEVEN_VAE

VARIANTS = {
    "mono": {},
    "stereo, two layers": {"channels": 2, "num_decoder_layers": 2},
    "no look-ahead": {"look_ahead_frames": 0},
    "a window longer than a block": {"attention_window_frames": 20},
    "harmonics": {"pitch_points": 2},
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def pair(request):
    """A VAE, and the same with a fused decoder, scripted."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = build("vae", UNEVEN_VAE | request.param).eval()
        # A head that starts at zero would hide what the layers before it do.
        torch.nn.init.normal_(plain.decoder.head.project.weight, std=0.1)
    fused = copy.deepcopy(plain)
    fused.decoder = FusedDecoder(fused.decoder).script()
    return plain, fused


def latents_of(vae, *, frames: int) -> torch.Tensor:
    return torch.randn(2, frames, vae.latent_dim, generator=torch.Generator().manual_seed(1))


def streamed(vae, latents: torch.Tensor, *, chunk: int) -> torch.Tensor:
    stream = vae.stream()
    return torch.cat([*(stream.push(piece) for piece in latents.split(chunk, dim=1)), stream.finish()], dim=-1)


def test_no_plain_convolution_or_attention_is_left_in_a_fused_decoder(pair):
    plain, fused = pair
    count = lambda vae: sum(isinstance(m, CausalConv | WindowedAttention) for m in vae.decoder.modules())  # noqa: E731
    assert count(plain) > 0 and count(fused) == 0


@pytest.mark.parametrize("frames", [1, 40])
def test_a_fused_decoder_gives_the_audio_of_the_plain_one(pair, frames):
    plain, fused = pair
    latents = latents_of(plain, frames=frames)
    with torch.no_grad():
        torch.testing.assert_close(fused.decode(latents), plain.decode(latents), rtol=0, atol=1e-5)


def test_a_fused_decoder_is_scripted_and_has_the_same_audio_where_it_cannot_be(pair):
    _, fused = pair
    latents = latents_of(fused, frames=10)
    slow = copy.deepcopy(fused)
    assert fused.decoder._scripted.fast
    slow.decoder._scripted = None
    with torch.no_grad():
        torch.testing.assert_close(slow.decode(latents), fused.decode(latents), rtol=0, atol=1e-6)
        torch.testing.assert_close(streamed(slow, latents, chunk=3), fused.decode(latents), rtol=0, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 4, 30])
def test_the_stream_of_a_fused_decoder_is_its_whole_clip(pair, chunk):
    _, fused = pair
    latents = latents_of(fused, frames=40)
    with torch.no_grad():
        torch.testing.assert_close(streamed(fused, latents, chunk=chunk), fused.decode(latents), rtol=0, atol=1e-5)


def test_streams_of_a_fused_decoder_that_are_pushed_together_give_the_audio_of_each_alone(pair):
    _, fused = pair
    clips = [latents_of(fused, frames=12), -latents_of(fused, frames=12)]
    streams, heard = [fused.stream() for _ in clips], [[] for _ in clips]
    with torch.no_grad():
        for pieces in zip(*(clip.split(3, dim=1) for clip in clips), strict=True):
            for parts, audio in zip(heard, fused.push_streams(streams, pieces), strict=True):
                parts.append(audio)
        for clip, stream, parts in zip(clips, streams, heard, strict=True):
            torch.testing.assert_close(torch.cat([*parts, stream.finish()], dim=-1), fused.decode(clip), rtol=0, atol=1e-5)
