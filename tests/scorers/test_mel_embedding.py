"""Mean and spread of mel bands, second by second."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from calm.errors import InputError
from calm.scorers.mel import FLOOR, MelStatistics
from calm.scorers.optional import need
from calm.types import Waveform
from tests.scorer_models import noise, tone


def test_each_second_is_a_row_and_a_short_clip_has_one():
    embedder = MelStatistics()
    for seconds, rows in [(0.05, 1), (0.9, 1), (1.4, 1), (1.6, 2), (10.0, 10)]:
        assert embedder.embed(noise(0, seconds=seconds)).shape == (rows, 128)


def test_it_is_mean_and_deviation_of_the_log_of_librosas_mel_energies():
    pytest.importorskip("librosa")
    clip = noise(3, seconds=1.2)
    mel = need("librosa.feature.spectral").melspectrogram(
        y=clip.audio[0].double().numpy(), sr=16_000, n_fft=1024, hop_length=320, n_mels=64, pad_mode="constant"
    )
    frames = np.log10(mel + FLOOR)
    np.testing.assert_allclose(
        MelStatistics().embed(clip)[0], np.concatenate([frames.mean(axis=1), frames.std(axis=1)]), atol=1e-5
    )


def test_channels_and_rate_do_not_matter_but_for_the_resampler():
    embedder, clip = MelStatistics(), tone(440, seconds=2.0)
    both = Waveform(audio=clip.audio.repeat(2, 1), sample_rate=clip.sample_rate)
    np.testing.assert_array_equal(embedder.embed(clip), embedder.embed(both))
    higher = embedder.embed(tone(440, seconds=2.0, sample_rate=44_100))
    assert np.abs(higher - embedder.embed(clip))[:, :64].max() < 0.05


def test_it_is_blind_to_the_direction_of_time_within_a_window_as_it_says():
    clip = noise(1, seconds=1.0)
    rising = Waveform(audio=clip.audio * torch.linspace(0, 1, 16_000), sample_rate=16_000)
    falling = Waveform(audio=rising.audio.flip(-1), sample_rate=16_000)
    np.testing.assert_allclose(MelStatistics().embed(rising), MelStatistics().embed(falling), atol=1e-3)


def test_a_silent_clip_has_a_row_and_one_without_samples_is_refused():
    silent = Waveform(audio=torch.zeros(1, 16_000), sample_rate=16_000)
    np.testing.assert_allclose(MelStatistics().embed(silent)[0], [np.log10(FLOOR)] * 64 + [0.0] * 64, atol=1e-12)
    with pytest.raises(InputError, match="no samples"):
        MelStatistics().embed(Waveform(audio=torch.zeros(1, 0), sample_rate=16_000))
    with pytest.raises(InputError, match="not finite"):
        MelStatistics().embed(Waveform(audio=torch.full((1, 100), torch.nan), sample_rate=16_000))
