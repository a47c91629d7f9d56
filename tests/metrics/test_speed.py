"""Speed, length and STOI."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from calm import registry
from calm.metrics import Unscored, figures_of
from calm.types import Waveform
from tests.metrics.trials import noised, silence, trial
from tests.scorers.checkpoints import noise


def speech_like(seconds: float, *, seed: int = 0, sample_rate: int = 16_000) -> Waveform:
    """Noise whose level goes up and down as that of syllables."""
    clip = noise(seconds, seed=seed, sample_rate=sample_rate)
    t = torch.arange(clip.audio.shape[-1]) / sample_rate
    return Waveform(audio=clip.audio * (1.2 + torch.sin(2 * torch.pi * 4 * t)), sample_rate=sample_rate)


def test_the_real_time_factor_is_all_time_over_all_audio():
    metric = registry.build("metric", "speed")
    logs = [
        {"seconds_taken": 1.0, "first_audio_seconds": 0.3, "nfe": 100},
        {"seconds_taken": 4.0, "first_audio_seconds": 0.1, "nfe": 50},
        {"seconds_taken": 4.0},
    ]
    for n, (log, seconds) in enumerate(zip(logs, (2.0, 1.0, 1.0), strict=True)):
        metric.update(n, metric.measure(trial(noise(seconds), log=log)))
    figures = figures_of(metric.compute())
    assert figures["rtf"].value == 9 / 4 and figures["rtf"].count == 3
    assert figures["first_audio"].value == pytest.approx(0.2) and figures["first_audio"].count == 2
    assert figures["nfe"].value == 75
    assert metric.scores(metric.measure(trial(noise(2.0), log=logs[2]))[None]) == {"rtf": 2.0}


def test_a_figure_that_no_log_has_is_missing():
    metric = registry.build("metric", "speed")
    metric.update(0, metric.measure(trial(noise(2.0), log={"seconds_taken": 1.0})))
    assert set(figures_of(metric.compute())) == {"rtf"}


@pytest.mark.parametrize("log", [{}, {"nfe": 3}, {"seconds_taken": -1.0}, {"seconds_taken": float("nan")}, {"seconds_taken": "1"}])
def test_a_log_without_time_is_not_scored(log):
    with pytest.raises(Unscored, match="seconds_taken"):
        registry.build("metric", "speed").measure(trial(noise(1.0), log=log))


def test_the_length_error_is_relative_to_the_original_and_its_figure_the_median():
    metric = registry.build("metric", "length_error")
    for n, seconds in enumerate((1.0, 2.2, 8.0)):
        metric.update(n, metric.measure(trial(noise(seconds), target=noise(2.0, sample_rate=8_000))))
    assert figures_of(metric.compute())["length_error"].value == pytest.approx(0.5)
    assert metric.measure(trial(silence(0.0), target=noise(1.0)))[0] == 1
    for target in (None, silence(0.0)):
        with pytest.raises(Unscored):
            metric.measure(trial(noise(1.0), target=target))


def test_stoi_is_one_for_the_original_and_falls_with_noise():
    pytest.importorskip("pystoi", reason='needs `pip install "audiocalm[eval]"`')
    metric, original = registry.build("metric", "stoi"), speech_like(2.0)
    scores = [float(metric.measure(trial(clip, target=original))[0]) for clip in (
        original, noised(original, snr_db=10), noised(original, snr_db=0), speech_like(2.0, seed=1))]  # fmt: skip
    assert scores[0] == pytest.approx(1, abs=1e-6)
    assert scores[0] > scores[1] > scores[2] > scores[3]


def test_stoi_equals_torchmetrics_at_its_own_rate():
    pytest.importorskip("pystoi", reason='needs `pip install "audiocalm[eval]"`')
    from torchmetrics.functional.audio.stoi import short_time_objective_intelligibility

    original = speech_like(1.5, sample_rate=10_000)
    clip = noised(original, snr_db=5)
    expected = short_time_objective_intelligibility(clip.audio[0], original.audio[0], 10_000)
    assert registry.build("metric", "stoi").measure(trial(clip, target=original))[0] == pytest.approx(float(expected), abs=1e-9)


def test_stoi_cuts_a_small_difference_and_refuses_a_large_one():
    pytest.importorskip("pystoi", reason='needs `pip install "audiocalm[eval]"`')
    metric, original = registry.build("metric", "stoi"), speech_like(2.0)
    longer = Waveform(audio=torch.cat([original.audio, 0.1 * original.audio[:, :500]], dim=1), sample_rate=16_000)
    assert metric.measure(trial(longer, target=original))[0] == pytest.approx(1, abs=1e-3)
    with pytest.raises(Unscored, match="off its original"):
        metric.measure(trial(speech_like(2.1), target=original))


@pytest.mark.parametrize(("seconds", "gap"), [(0.3, False), (1.0, True)], ids=["short", "little left"])
def test_stoi_says_nothing_of_too_few_frames(seconds, gap):
    pytest.importorskip("pystoi", reason='needs `pip install "audiocalm[eval]"`')
    clip = speech_like(seconds)
    if gap:
        clip.audio[:, 4_000:] *= 1e-4
    with pytest.raises(Unscored, match=r"0\.42 s"):
        registry.build("metric", "stoi").measure(trial(clip, target=clip))


@pytest.mark.parametrize("name", ["speed", "length_error", "stoi"])
def test_a_result_says_how_it_was_made(name):
    if name == "stoi":
        pytest.importorskip("pystoi", reason='needs `pip install "audiocalm[eval]"`')
    metric = registry.build("metric", name)
    assert json.loads(json.dumps(metric.describe()))["scorer"]
    assert np.unique([column.key for column in metric.columns]).size == len(metric.columns)
