"""What every VAE of the registry must do, whatever it is made of."""

from __future__ import annotations

import pytest
import torch

from calm.errors import InputError
from calm.registry import build, names
from calm.vae import VAE
from tests.factory import UNEVEN_VAE

# The smallest useful options of each VAE; a new one is tested with its defaults.
STFT_TINY = {key: value for key, value in UNEVEN_VAE.items() if key != "name"}
VARIANTS = {
    "stft_vae": {
        "mono": STFT_TINY,
        "stereo": STFT_TINY | {"channels": 2, "sample_rate": 44100},
        "no look-ahead": STFT_TINY | {"look_ahead_frames": 0},
        "far look-ahead": STFT_TINY | {"look_ahead_frames": 3},
        "two frames per row": STFT_TINY | {"stft_hop": 40},
    },
    "encodec": {"patch 1": {"weights": "random", "patch": 1}, "patch 3": {"weights": "random", "patch": 3}},
}
CASES = [
    pytest.param({"name": name} | options, id=f"{name}: {variant}")
    for name in names("vae")
    for variant, options in VARIANTS.get(name, {"defaults": {}}).items()
]


@pytest.fixture(params=CASES)
def vae(request) -> VAE:
    torch.manual_seed(0)
    return build("vae", request.param).eval()


@pytest.fixture
def latents(vae) -> torch.Tensor:
    return torch.randn(2, 11, vae.latent_dim, generator=torch.Generator().manual_seed(1))


def noise(vae: VAE, frames: int) -> torch.Tensor:
    return 0.1 * torch.randn(2, vae.channels, frames * vae.hop, generator=torch.Generator().manual_seed(2))


def test_audio_becomes_one_latent_per_hop_and_back(vae):
    audio = noise(vae, 7)
    with torch.no_grad():
        posterior = vae.encode(audio)
        decoded = vae.decode(posterior.mean)
    assert posterior.mean.shape == posterior.std.shape == (2, 7, vae.latent_dim)
    assert (posterior.std >= 0).all()
    assert decoded.shape == audio.shape
    assert decoded.isfinite().all()


@pytest.mark.parametrize("frames", [1, 2])
def test_very_short_clips_keep_their_length(vae, frames):
    with torch.no_grad():
        assert vae.decode(vae.encode(noise(vae, frames)).mean).shape == (2, vae.channels, frames * vae.hop)


def test_denormalize_inverts_normalize(vae, latents):
    raw = latents * 3 + 1
    flat = vae.flatten_frames(raw).double()
    assert not vae.has_statistics
    vae.set_statistics(flat.sum(0), flat.square().sum(0), len(flat))
    assert vae.has_statistics
    torch.testing.assert_close(vae.denormalize(vae.normalize(raw)), raw, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(vae.normalize(raw).mean((0, 1)), torch.zeros(vae.latent_dim), rtol=0, atol=1e-4)


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5])
def test_the_stream_equals_the_offline_decode(vae, latents, chunk):
    with torch.no_grad():
        offline = vae.decode(latents)
    stream = vae.stream()
    streamed = torch.cat([*(stream.push(piece) for piece in latents.split(chunk, dim=1)), stream.finish()], dim=-1)
    torch.testing.assert_close(streamed, offline, rtol=0, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2])
def test_the_stream_of_a_very_short_clip_equals_the_offline_decode(vae, latents, frames):
    stream = vae.stream()
    streamed = torch.cat([stream.push(latents[:, :frames]), stream.finish()], dim=-1)
    with torch.no_grad():
        torch.testing.assert_close(streamed, vae.decode(latents[:, :frames]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 4])
def test_a_stream_that_is_told_which_latents_are_the_last_gives_the_same_audio(vae, latents, chunk):
    stream, (*pieces, last) = vae.stream(), latents.split(chunk, dim=1)
    streamed = torch.cat([*map(stream.push, pieces), stream.push(stream.last(last)), stream.finish()], dim=-1)
    with torch.no_grad():
        torch.testing.assert_close(streamed, vae.decode(latents), rtol=0, atol=1e-5)


def test_two_streams_do_not_disturb_each_other(vae, latents):
    with torch.no_grad():
        offline = vae.decode(latents)
    first, second = vae.stream(), vae.stream()
    parts = []
    for piece in latents.split(2, dim=1):
        parts.append(first.push(piece))
        second.push(-piece)
    torch.testing.assert_close(torch.cat([*parts, first.finish()], dim=-1), offline, rtol=0, atol=1e-5)


def test_streams_of_any_age_that_are_pushed_together_give_the_audio_of_each_alone(vae, latents):
    clips = [latents, -latents, 0.5 * latents, 2 * latents[:, 1:]]
    with torch.no_grad():
        offline = [vae.decode(clip) for clip in clips]
    streams, parts = [vae.stream() for _ in clips], [[] for _ in clips]
    # Clip i begins i steps later, and the last one comes two frames at a time.
    waiting = [list(clip.split(1 + (number == 3), dim=1)) for number, clip in enumerate(clips)]
    for step in range(latents.shape[1] + len(clips)):
        ready = [i for i in range(len(clips)) if step >= i and waiting[i]]
        pieces = [waiting[i].pop(0) for i in ready]
        with torch.no_grad():
            audio = vae.push_streams([streams[i] for i in ready], pieces)
        for i, part in zip(ready, audio, strict=True):
            parts[i].append(part)
    for stream, heard, whole in zip(streams, parts, offline, strict=True):
        torch.testing.assert_close(torch.cat([*heard, stream.finish()], dim=-1), whole, rtol=0, atol=1e-5)


def test_an_unused_stream_ends_in_no_audio_and_cannot_be_used_afterwards(vae, latents):
    stream = vae.stream()
    assert stream.finish().shape[-1] == 0
    with pytest.raises(InputError, match="finished"):
        stream.push(latents)


@pytest.mark.parametrize("shape", [(1, 3, 4), (1, 0, 4), (4,)])
def test_wrong_channels_and_ranks_are_named(vae, shape):
    audio = torch.zeros(*shape[:-1], shape[-1] * vae.hop)
    with pytest.raises(InputError, match=rf"multiple of {vae.hop}"):
        vae.encode(audio)


def test_a_length_that_is_no_multiple_of_the_hop_is_named(vae):
    with pytest.raises(InputError, match=rf"multiple of {vae.hop}"):
        vae.to_latents(torch.zeros(1, vae.channels, 3 * vae.hop + 1))


def test_weights_and_statistics_survive_a_state_dict(vae, latents):
    flat = vae.flatten_frames(latents).double()
    vae.set_statistics(flat.sum(0), flat.square().sum(0), len(flat))
    twin = build("vae", vae.config)
    twin.load_state_dict(vae.state_dict())
    with torch.no_grad():
        assert torch.equal(twin.eval().to_audio(latents), vae.to_audio(latents))
