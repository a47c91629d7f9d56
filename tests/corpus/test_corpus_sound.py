"""Sound events, scenes, instruments and scores."""

from __future__ import annotations

import numpy as np
import pytest

from calm.corpus.clip import ClipPlan
from calm.corpus.events_lasting import LASTING
from calm.corpus.events_struck import STRUCK
from calm.corpus.instruments import DRUMS, INSTRUMENTS
from calm.corpus.render import make_clip
from calm.corpus.scenes import COUNTS, KINDS, LEVELS, Event, load_kinds, render_event
from calm.corpus.score import GENRES, SCALES, TONICS, compose
from calm.corpus.sentences import SPLITS, split_of
from calm.types import Task

RATE = 16_000
PLAN = ClipPlan(seed=5, sample_rate=RATE, words=(3, 6), sound_seconds=(2, 6), music_seconds=(4, 6))


def _event(kind: str, *, count: int = 1, level: str = "normal", seed: int = 0) -> np.ndarray:
    event = Event(kind=kind, count=count, level=level)
    return render_event(np.random.default_rng(seed), event, seconds=6.0, sample_rate=RATE)


def _profile(audio: np.ndarray) -> np.ndarray:
    """Mean log spectrum in 32 bands, its frame-to-frame change, and the spread of the level, as one vector."""
    frames = np.lib.stride_tricks.sliding_window_view(audio, 512)[::256] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames))[:, 1:].reshape(len(frames), 32, 8).mean(-1)
    loud = np.log(power[power.sum(-1) > 1e-3 * power.sum(-1).max()] + 1e-3 * power.max())
    level = loud.mean(-1)
    return np.concatenate([loud.mean(0), loud.std(0), [3 * level.std()]])


def test_sixteen_kinds_have_words_and_a_synthesiser():
    assert len(KINDS) >= 16
    assert set(KINDS) == set(load_kinds()) == set(STRUCK) | set(LASTING)
    assert all(len(kind.clauses) >= 3 and len(kind.nouns) >= 2 for kind in load_kinds().values())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_audible_finite_and_below_full_scale(kind: str):
    audio = _event(kind)
    assert np.isfinite(audio).all()
    assert 0.1 < np.abs(audio).max() <= 0.95


def test_a_kind_is_recognised_by_its_spectrum_alone():
    heard = {kind: [_profile(_event(kind, seed=seed)) for seed in range(4)] for kind in KINDS}
    confused = {}
    for kind in KINDS:
        new = _profile(_event(kind, seed=9))
        nearest = min(KINDS, key=lambda other: min(np.linalg.norm(new - profile) for profile in heard[other]))
        if nearest != kind:
            confused[kind] = nearest
    assert len(confused) <= len(KINDS) // 10, confused


@pytest.mark.parametrize("count", sorted(COUNTS))
def test_a_struck_event_is_heard_as_often_as_stated(count: int):
    audio = np.abs(_event("beep", count=count))
    loud = np.convolve(audio, np.ones(800) / 800, "same") > 0.05
    assert np.count_nonzero(np.diff(loud.astype(int)) == 1) + loud[0] == count


@pytest.mark.parametrize("kind", ["bell", "rain"])
def test_levels_are_ordered(kind: str):
    peaks = [np.sqrt(np.mean(_event(kind, level=level) ** 2)) for level in LEVELS]
    assert peaks == sorted(peaks) and peaks[-1] > 2 * peaks[0]


@pytest.mark.parametrize("task", [Task.SOUND, Task.MUSIC])
@pytest.mark.parametrize("split", SPLITS)
def test_captions_belong_to_their_split_and_lengths_to_their_range(task: Task, split: str):
    shortest, longest = PLAN.sound_seconds if task is Task.SOUND else (3, PLAN.music_seconds[1] + 0.5)
    for index in range(6):
        clip = make_clip(PLAN, task=task, split=split, index=index)
        assert split_of(clip.text) == split
        assert shortest <= len(clip.audio) / RATE <= longest + 0.01
        assert np.abs(clip.audio).max() <= 0.96


def test_in_a_sequence_the_first_event_is_heard_first():
    clips = (make_clip(PLAN, task=Task.SOUND, split="train", index=index) for index in range(200))
    clip = next(c for c in clips if c.attributes["order"] == "sequence" and c.attributes["kinds"][0] in STRUCK)
    kinds = clip.attributes["kinds"]
    order = [min(clip.text.lower().find(c) for c in load_kinds()[k].clauses if c in clip.text.lower()) for k in kinds]
    assert order == sorted(order)


@pytest.mark.parametrize(
    "name", ["piano", "guitar", "bass", "flute", "strings", "organ", "marimba", "trumpet", "synth"]
)
@pytest.mark.parametrize("frequency", [110.0, 329.6])
def test_instruments_are_in_tune(name: str, frequency: float):
    note = INSTRUMENTS[name](np.random.default_rng(0), frequency, 1.0, RATE)
    spectrum = np.abs(np.fft.rfft(note * np.hanning(len(note)), 8 * RATE))
    near = slice(round(8 * frequency * 0.94), round(8 * frequency * 1.06))
    peak = (near.start + spectrum[near].argmax()) / 8
    assert peak == pytest.approx(frequency, rel=0.006)


def test_six_instruments_and_their_notes_are_of_sane_level():
    assert len(INSTRUMENTS) >= 6
    for instrument in INSTRUMENTS.values():
        note = instrument(np.random.default_rng(0), 261.6, 0.5, RATE)
        assert 0.2 < np.abs(note).max() < 1.6


def test_scores_keep_to_their_key_and_genre():
    for seed in range(60):
        score = compose(np.random.default_rng(seed), seconds=8)
        style = GENRES[score.genre]
        assert style.tempo[0] <= score.tempo <= style.tempo[1]
        assert score.instruments[0] in style.leads
        tonic = TONICS.index(score.key.rsplit(" ", 1)[0])
        scale = SCALES[score.key.rsplit(" ", 1)[1]]
        pitches = {n.pitch for n in score.notes if n.instrument not in DRUMS}
        assert all((pitch - tonic) % 12 in scale for pitch in pitches)
        assert max(n.start + n.beats for n in score.notes) * 60 / score.tempo <= 8 + 60 / score.tempo
