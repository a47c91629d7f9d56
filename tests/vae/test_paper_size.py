"""The VAE of `audiocalm_vae_44k` at its full size: 44.1 kHz stereo, 4096 samples a latent, streamed and offline."""

from __future__ import annotations

import pytest
import torch

from calm.config import load_config
from calm.registry import build

FRAMES = 33


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    vae = build("vae", load_config(["experiment=audiocalm_vae_44k"]).vae).eval()
    vae.start_from(0.1 * torch.randn(2, 2, 100 * vae.hop, generator=torch.Generator().manual_seed(3)))
    return vae


@pytest.fixture(scope="module")
def stereo(vae):
    """Three seconds, another signal on each side."""
    time = torch.arange(FRAMES * vae.hop) / vae.sample_rate
    tones = torch.stack([torch.sin(6.283 * 220 * time), 0.5 * torch.sin(6.283 * 3300 * time)])
    return (0.2 * tones + 0.02 * torch.randn(tones.shape, generator=torch.Generator().manual_seed(1)))[None]


@pytest.fixture(scope="module")
def offline(vae, stereo):
    with torch.no_grad():
        latents = vae.encode(stereo).mean
        return latents, vae.decode(latents)


def test_three_seconds_of_stereo_become_latents_at_10_77_hz_and_stereo_again(vae, stereo, offline):
    latents, audio = offline
    assert (vae.hop, vae.sample_rate, vae.channels) == (4096, 44100, 2) and round(vae.frame_rate, 2) == 10.77
    assert latents.shape == (1, FRAMES, 64) and audio.shape == stereo.shape
    assert audio.isfinite().all() and not torch.equal(audio[:, 0], audio[:, 1])


@pytest.mark.parametrize("sizes", [[1] * FRAMES, [8, 8, 8, 8, 1], [3, 13, 17]])
@torch.no_grad()
def test_streamed_audio_equals_the_offline_decoding_to_1e_5(vae, offline, sizes):
    latents, audio = offline
    stream = vae.stream()
    pieces = [stream.push(piece) for piece in latents.split(sizes, dim=1)]
    streamed = torch.cat([*pieces, stream.finish()], dim=-1)
    assert sum(piece.shape[-1] > 0 for piece in pieces) >= len(pieces) - 1
    torch.testing.assert_close(streamed, audio, rtol=0, atol=1e-5)
