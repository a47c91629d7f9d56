from __future__ import annotations

import pytest
import torch

from calm.audio import (
    fit,
    level_dbfs,
    mel_filterbank,
    mel_spectrogram,
    peak_normalize,
    resample,
    set_level,
    to_channels,
)
from calm.errors import InputError
from calm.types import Waveform


def tone(*, hertz: float = 440, sample_rate: int = 16000, seconds: float = 0.5, channels: int = 1) -> Waveform:
    time = torch.arange(int(seconds * sample_rate)) / sample_rate
    audio = 0.5 * torch.sin(2 * torch.pi * hertz * time)
    return Waveform(audio=audio.expand(channels, -1).clone(), sample_rate=sample_rate)


@pytest.mark.parametrize(("old", "new"), [(8000, 16000), (96000, 16000), (44100, 16000), (16000, 44100)])
def test_a_resampled_tone_is_the_tone_at_the_new_rate(old: int, new: int) -> None:
    back = resample(tone(sample_rate=old, channels=2), new)
    expected = tone(sample_rate=new, channels=2)
    assert back.sample_rate == new and back.audio.dtype == torch.float32
    assert abs(back.audio.shape[1] - expected.audio.shape[1]) <= 1
    length = min(back.audio.shape[1], expected.audio.shape[1])
    middle = slice(length // 4, 3 * length // 4)
    torch.testing.assert_close(back.audio[:, middle], expected.audio[:, middle], atol=2e-3, rtol=0)


def test_resampling_removes_what_the_new_rate_cannot_hold() -> None:
    assert level_dbfs(resample(tone(hertz=7000), 8000).audio[:, 500:-500]) < -60


def test_resampling_to_the_same_rate_changes_nothing() -> None:
    waveform = tone()
    assert resample(waveform, 16000) is waveform


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_a_handful_of_samples_survives_downsampling(samples: int) -> None:
    short = Waveform(audio=torch.full((1, samples), 0.1), sample_rate=96000)
    assert resample(short, 8000).audio.shape[1] >= 1


def test_a_rate_that_is_not_positive_is_refused() -> None:
    with pytest.raises(InputError, match="positive"):
        resample(tone(), 0)


def test_mono_is_duplicated_and_stereo_is_averaged() -> None:
    stereo = Waveform(audio=torch.tensor([[1.0, 0.0], [0.0, 0.5]]), sample_rate=8000)
    mono = to_channels(stereo, 1)
    assert torch.equal(mono.audio, torch.tensor([[0.5, 0.25]]))
    assert torch.equal(to_channels(mono, 2).audio, torch.tensor([[0.5, 0.25], [0.5, 0.25]]))
    assert to_channels(stereo, 2) is stereo


def test_six_channels_become_two_and_three_are_not_made() -> None:
    surround = Waveform(audio=torch.rand(6, 10, generator=torch.Generator().manual_seed(0)), sample_rate=8000)
    assert to_channels(surround, 2).audio.shape == (2, 10)
    with pytest.raises(InputError, match="3 channels"):
        to_channels(surround, 3)


def test_peak_and_level_reach_their_targets() -> None:
    assert peak_normalize(tone(), peak=0.9).audio.abs().max() == pytest.approx(0.9)
    assert level_dbfs(set_level(tone(), dbfs=-30).audio) == pytest.approx(-30, abs=1e-3)
    assert set_level(tone(), dbfs=0, peak=0.99).audio.abs().max() == pytest.approx(0.99)


def test_level_of_a_full_scale_sine_is_minus_three_decibels() -> None:
    assert level_dbfs(2 * tone().audio) == pytest.approx(-3.01, abs=0.01)


def test_silence_stays_silence() -> None:
    silence = Waveform(audio=torch.zeros(1, 100), sample_rate=8000)
    assert not peak_normalize(silence).audio.any() and not set_level(silence).audio.any()
    assert level_dbfs(silence.audio) == -120.0


@pytest.mark.parametrize("num_samples", [0, 3, 5, 9])
def test_fit_gives_the_length_asked_for(num_samples: int) -> None:
    audio = torch.arange(1.0, 6.0).expand(2, 3, 5)
    fitted = fit(audio, num_samples)
    assert fitted.shape == (2, 3, num_samples)
    kept = min(5, num_samples)
    assert torch.equal(fitted[..., :kept], audio[..., :kept]) and not fitted[..., kept:].any()


@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "num_mels", "f_min", "f_max"),
    [(16000, 400, 40, 0.0, 8000.0), (44100, 2048, 80, 20.0, 16000.0)],
)
def test_filters_equal_the_slaney_filters_of_transformers(
    sample_rate: int, n_fft: int, num_mels: int, f_min: float, f_max: float
) -> None:
    from transformers.audio_utils import mel_filter_bank

    theirs = mel_filter_bank(n_fft // 2 + 1, num_mels, f_min, f_max, sample_rate, norm="slaney", mel_scale="slaney")
    ours = mel_filterbank(sample_rate=sample_rate, n_fft=n_fft, num_mels=num_mels, f_min=f_min, f_max=f_max)
    torch.testing.assert_close(ours, torch.from_numpy(theirs).float().T, atol=1e-7, rtol=1e-4)


def test_every_filter_has_unit_area_and_a_kilohertz_is_fifteen_steps_up() -> None:
    # Up to 1 kHz filters of the scale are 1000 / 15 Hz apart; 16 corners from 0 to 1 kHz make 14 filters.
    filters = mel_filterbank(sample_rate=16000, n_fft=16000, num_mels=14, f_max=1000.0)
    torch.testing.assert_close(filters.sum(dim=1), torch.ones(14), atol=1e-3, rtol=0)
    expected = torch.arange(1, 15) * 1000 / 15
    torch.testing.assert_close(filters.argmax(dim=1).float(), expected, atol=0.51, rtol=0)


def test_mel_spectrogram_has_the_stated_shape_for_any_lead_and_length() -> None:
    for shape in [(1000,), (2, 1000), (3, 2, 1000), (1, 10)]:
        mel = mel_spectrogram(torch.zeros(shape), sample_rate=16000, n_fft=256, hop=64, num_mels=20)
        assert mel.shape == (*shape[:-1], 20, shape[-1] // 64 + 1)


def test_a_higher_tone_lights_a_higher_filter() -> None:
    peaks = [
        mel_spectrogram(tone(hertz=hertz).audio[0], sample_rate=16000, n_fft=512, hop=128, num_mels=40)[:, 20].argmax()
        for hertz in (200, 500, 1000, 2000, 5000)
    ]
    assert peaks == sorted(peaks) and len(set(peaks)) == 5


def test_power_two_sums_energies() -> None:
    options = {"sample_rate": 16000, "n_fft": 256, "hop": 64, "num_mels": 20}
    once = mel_spectrogram(tone().audio, power=2.0, **options)
    torch.testing.assert_close(mel_spectrogram(2 * tone().audio, power=2.0, **options), 4 * once, rtol=1e-4, atol=1e-6)


def test_gradients_pass_also_where_the_audio_is_silent_and_after_inference_mode() -> None:
    options = {"sample_rate": 16000, "n_fft": 250, "hop": 64, "num_mels": 20}
    with torch.inference_mode():
        mel_spectrogram(torch.zeros(1000), **options)
    audio = torch.cat([torch.zeros(500), tone().audio[0, :500]]).requires_grad_()
    mel_spectrogram(audio, **options).sum().backward()
    assert audio.grad is not None and torch.isfinite(audio.grad).all() and audio.grad.any()


def test_filters_beyond_half_the_rate_are_refused() -> None:
    with pytest.raises(InputError, match="half the sample rate"):
        mel_filterbank(sample_rate=16000, n_fft=256, num_mels=20, f_max=9000)
