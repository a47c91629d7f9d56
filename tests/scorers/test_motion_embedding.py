"""Mel bands and how they move: what noise changes little, and another kind of audio much."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from benchmarks.damage_stages import noised
from calm.corpus.clip import ClipPlan
from calm.corpus.render import make_clip
from calm.errors import InputError
from calm.metrics import Item, Trial, figures_of
from calm.registry import build
from calm.scorers.motion import BANDS, FLOOR, MelMotion, envelope_motion, spectral_motion
from calm.types import Task, Waveform
from tests.scorer_models import noise, tone

RATE = 16_000


def clips_of(task: Task, count: int) -> list[Waveform]:
    plan = ClipPlan(seed=3, sample_rate=RATE, words=(5, 8), sound_seconds=(2.0, 3.0), music_seconds=(2.0, 3.0))
    made = [make_clip(plan, task=task, split="validation", index=index) for index in range(count)]
    return [Waveform(audio=torch.from_numpy(np.asarray(c.audio, np.float32))[None], sample_rate=RATE) for c in made]


def distance(kind, clips, reference):
    metric = build("metric", {"name": kind, "embedding": "motion"})
    for number, clip in enumerate(clips):
        metric.update(number, metric.measure(Trial(item=Item(id="x", task=Task.MUSIC, text=""), clip=clip)))
    for number, clip in enumerate(reference):
        metric.update_reference(number, metric.measure(Trial(item=Item(id="x", task=Task.MUSIC, text=""), clip=clip)))
    return figures_of(metric.compute())[metric.key].value


def test_each_second_is_a_row_and_a_short_clip_has_one():
    embedder = MelMotion()
    for seconds, rows in [(0.01, 1), (0.05, 1), (0.9, 1), (1.4, 1), (1.6, 2), (10.0, 10)]:
        found = embedder.embed(noise(0, seconds=seconds))
        assert found.shape == (rows, embedder.width) and found.dtype == np.float64 and np.isfinite(found).all()


def test_a_silent_clip_has_a_row_without_motion_and_one_without_samples_is_refused():
    silent = MelMotion().embed(Waveform(audio=torch.zeros(1, RATE), sample_rate=RATE))[0]
    np.testing.assert_allclose(silent[:BANDS], 0.5 * np.log10(FLOOR), atol=1e-9)
    np.testing.assert_allclose(silent[BANDS:-2], 0, atol=1e-6)
    np.testing.assert_allclose(silent[-2:] / silent[-1], 1)  # the envelope is its own mean throughout
    with pytest.raises(InputError, match="no samples"):
        MelMotion().embed(Waveform(audio=torch.zeros(1, 0), sample_rate=RATE))


def test_channels_and_level_of_loud_clips_do_not_change_motion():
    embedder, clip = MelMotion(), tone(440, seconds=2.0)
    both = Waveform(audio=clip.audio.repeat(2, 1), sample_rate=RATE)
    np.testing.assert_array_equal(embedder.embed(clip), embedder.embed(both))
    beating = clip.audio * (1 + 0.8 * torch.sin(2 * torch.pi * 4 * torch.arange(clip.audio.shape[-1]) / RATE))
    loud, softer, faint = (
        embedder.embed(Waveform(audio=beating * level, sample_rate=RATE))[:, 2 * BANDS :] for level in (1, 0.5, 1e-4)
    )
    np.testing.assert_allclose(softer, loud, atol=0.2)
    assert np.abs(faint - loud).max() > 2  # what lies below the floor of motion does not move


def test_a_spectrum_that_changes_every_100_ms_is_far_from_itself_100_ms_later_and_the_same_200_ms_later():
    energy = np.zeros((50, 64))
    energy[np.arange(50) // 5 % 2 == 0, 10] = 1.0
    energy[np.arange(50) // 5 % 2 == 1, 40] = 1.0
    _, tenth, fifth, longer = spectral_motion(energy)
    assert tenth == pytest.approx(1) and fifth == longer == pytest.approx(0)


@pytest.mark.parametrize(("hertz", "band"), [(2.2, 0), (4.2, 1), (7.0, 2), (12.0, 3)])
def test_modulation_is_found_at_its_rate_and_its_depth_counts(hertz, band):
    times = np.arange(50)[:, None] * 0.02
    deep, shallow = (envelope_motion((1 + depth * np.cos(2 * np.pi * hertz * times)) ** 2) for depth in (0.8, 0.2))
    assert np.argmax(deep[:4]) == band
    assert deep[band] == pytest.approx(2 * shallow[band], rel=0.05)  # the root of four times the amplitude


@pytest.mark.parametrize("kind", ["fad", "kad"])
def test_noise_of_10_db_is_nearer_than_another_kind_and_20_db_nearer_still(kind):
    music, speech = clips_of(Task.MUSIC, 24), clips_of(Task.SPEECH, 12)
    held_out, reference = music[::2], music[1::2]
    stages = [held_out, *([noised(c, snr=snr, seed=n) for n, c in enumerate(held_out)] for snr in (20, 10)), speech]
    found = [distance(kind, stage, reference) for stage in stages]
    assert all(a < b for a, b in itertools.pairwise(found)), found


def test_a_set_has_no_distance_to_itself():
    clips = clips_of(Task.SOUND, 4)
    assert distance("fad", clips, clips) == pytest.approx(0, abs=1e-6)


def test_its_key_and_settings_say_what_it_is():
    metric = build("metric", {"name": "fad", "embedding": "motion"})
    described = metric.describe()
    assert described["scorer"] == "motion" and described["dimensions"] == 75 and described["floor"] == FLOOR
