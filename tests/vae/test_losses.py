"""Spectral and adversarial losses."""

from __future__ import annotations

import pytest
import torch

from calm.registry import build, names
from calm.vae.losses import (
    SpectralLoss,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
    mel_filters,
    stereo_views,
)

TINY = {
    "stft_disc": {"n_ffts": (256, 128), "width": 4, "num_layers": 3},
    "encodec_msstftd": {"n_ffts": (256, 128), "width": 4},
}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_perfect_reconstruction_has_no_distance():
    audio = noise(2, 2, 4000)
    distance = SpectralLoss(sample_rate=16000, n_ffts=(512, 128))(audio, audio)
    assert distance.stft.tolist() == distance.mel.tolist() == [0, 0]


def test_distances_belong_to_the_clip_that_differs():
    audio = noise(3, 1, 4000)
    other = audio.clone()
    other[1] *= 0.5
    distance = SpectralLoss(sample_rate=16000, n_ffts=(512,))(other, audio)
    assert distance.mel[[0, 2]].tolist() == [0, 0]
    # Half the level is log 2 in nepers, in every bin.
    assert float(distance.mel[1]) == pytest.approx(0.693, rel=0.02)
    assert float(distance.stft[1]) == pytest.approx(0.5 + 0.693, rel=0.02)


def test_silence_gives_finite_gradients():
    audio = torch.zeros(1, 1, 2000, requires_grad=True)
    distance = SpectralLoss(sample_rate=16000, n_ffts=(256,))(audio, noise(1, 1, 2000))
    (distance.stft + distance.mel).sum().backward()
    assert audio.grad.isfinite().all()


def test_a_reconstruction_that_swaps_the_channels_is_wrong_although_its_middle_is_right():
    audio = noise(1, 2, 4000)
    distance = SpectralLoss(sample_rate=16000, n_ffts=(256,))(audio.flip(1), audio)
    assert float(distance.mel) > 0.05


def test_stereo_is_seen_as_left_right_mid_and_side():
    audio = torch.tensor([[[1.0], [0.5]]])
    assert stereo_views(audio).flatten().tolist() == [1, 0.5, 0.75, 0.25]
    assert stereo_views(audio[:, :1]).flatten().tolist() == [1]


@pytest.mark.parametrize(("n_fft", "num_mels"), [(128, 8), (1024, 64), (2048, 128)])
def test_no_mel_filter_is_empty_and_their_centres_rise(n_fft, num_mels):
    filters = mel_filters(num_mels, n_fft=n_fft, sample_rate=16000)
    torch.testing.assert_close(filters.sum(dim=1), torch.ones(num_mels))
    assert (filters.argmax(dim=1).diff() >= 0).all()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", names("adversary"))
def test_every_adversary_learns_to_tell_noise_from_tones(name, channels):
    torch.manual_seed(0)
    adversary = build("adversary", {"name": name} | TINY.get(name, {}), channels=channels)
    time = torch.arange(2000) / 16000
    tones = torch.stack([0.3 * torch.sin(6.283 * f * time) for f in (300, 900)]).unsqueeze(1).repeat(1, channels, 1)
    fake = noise(2, channels, 2000)
    real_verdicts, fake_verdicts = adversary(tones), adversary(fake)
    assert len(real_verdicts) == len(fake_verdicts) > 0
    assert all(v.features and v.logits.shape[0] == 2 for v in real_verdicts)
    first = discriminator_loss(real_verdicts, fake_verdicts)
    optimizer = torch.optim.Adam(adversary.parameters(), lr=1e-2)
    for _ in range(25):
        loss = discriminator_loss(adversary(tones), adversary(fake))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5 * float(first.detach())
    assert adversarial_loss(adversary(fake)) > adversarial_loss(adversary(tones))
    assert feature_matching_loss(adversary(fake), adversary(fake)).item() == 0
