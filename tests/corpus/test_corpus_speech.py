"""eSpeak NG through ctypes, and the speakers of the splits."""

from __future__ import annotations

import sys
import tempfile

import numpy as np
import pytest

from calm.corpus.clip import ClipPlan
from calm.corpus.espeak import ESPEAK_RATE, Espeak
from calm.corpus.made_voices import NUM_MADE, data_with_made_voices, made_voice
from calm.corpus.render import make_clip
from calm.corpus.sentences import SPLITS, split_of
from calm.corpus.speech import load_speakers
from calm.errors import DataError
from calm.types import Task

PLAN = ClipPlan(seed=5, sample_rate=16_000, words=(3, 6), sound_seconds=(2, 4), music_seconds=(4, 6))
VOICE = {"accent": "en-US", "variant": "f1", "words_per_minute": 170, "pitch": 50, "pitch_range": 50}


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    return Espeak()


def test_an_utterance_does_not_depend_on_what_was_said_before(espeak: Espeak):
    first = espeak.render("The old dog sleeps.", **VOICE)
    for variant in ("m3", "edward", "f5"):
        espeak.render("Is it half past nine?", **{**VOICE, "variant": variant})
    assert np.array_equal(first, espeak.render("The old dog sleeps.", **VOICE))
    assert len(first) > 0.5 * ESPEAK_RATE


def test_rate_and_pitch_change_the_utterance(espeak: Espeak):
    slow = espeak.render("The old dog sleeps.", **{**VOICE, "words_per_minute": 120})
    fast = espeak.render("The old dog sleeps.", **{**VOICE, "words_per_minute": 230})
    assert len(slow) > 1.3 * len(fast)


def test_forty_speakers_train_and_all_of_them_exist(espeak: Espeak):
    speakers = load_speakers()
    assert sum(speaker.split == "train" for speaker in speakers) >= 40
    assert len({speaker.name for speaker in speakers}) == len(speakers)
    assert all(espeak.has_voice(speaker.accent, speaker.variant) for speaker in speakers)


def test_every_split_has_both_genders_and_variants_of_its_own():
    variants = {s: {v.variant for v in load_speakers() if v.split == s} for s in SPLITS}
    assert not variants["train"] & (variants["validation"] | variants["test"])
    assert not variants["validation"] & variants["test"]
    for split in SPLITS:
        assert {v.gender for v in load_speakers() if v.split == split} == {"female", "male"}


def test_made_voices_train_alone_and_always_have_the_same_pitch_and_rate():
    made = [speaker for speaker in load_speakers() if speaker.variant.startswith("made")]
    assert len(made) == NUM_MADE
    assert all(speaker.split == "train" and speaker.pitch and speaker.rate for speaker in made)
    assert made_voice(3).text == made_voice(3).text != made_voice(5).text


def test_made_voices_sound_unlike_each_other(espeak: Espeak):
    voices = [espeak.render("The old dog sleeps.", **{**VOICE, "variant": f"made{number}"}) for number in (0, 1, 2)]
    spectra = [np.abs(np.fft.rfft(voice, 2**17))[:40_000].reshape(-1, 200).mean(axis=1) for voice in voices]
    assert all(np.corrcoef(np.log(spectra[i]), np.log(spectra[j]))[0, 1] < 0.98 for i, j in ((0, 1), (0, 2), (1, 2)))


def test_the_data_folder_with_made_voices_holds_no_more_than_espeak_can_list(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = data_with_made_voices.__wrapped__()
    assert folder.is_relative_to(tmp_path)
    assert len(list((folder / "voices" / "!v").iterdir())) + len(list((folder / "lang" / "gmw").iterdir())) < 350
    assert data_with_made_voices.__wrapped__() == folder


def test_a_temporary_folder_that_cannot_be_written_is_said_in_words(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(DataError, match="TMPDIR"):
        data_with_made_voices.__wrapped__()


@pytest.mark.parametrize("split", SPLITS)
def test_a_spoken_clip_has_a_voice_and_a_sentence_of_its_split(split: str):
    names = {speaker.name for speaker in load_speakers() if speaker.split == split}
    for index in range(5):
        clip = make_clip(PLAN, task=Task.SPEECH, split=split, index=index)
        assert clip.attributes["speaker"] in names
        assert split_of(clip.text) == split
        assert 3 <= len(clip.text.split()) <= 6
        # Silence at the ends was trimmed, and nothing is digital silence.
        assert np.abs(clip.audio[: PLAN.sample_rate // 4]).max() > 0.02
        assert np.std(clip.audio[:160]) > 0


def test_an_unknown_voice_is_refused_although_espeak_would_take_another(espeak: Espeak):
    with pytest.raises(DataError, match="no voice 'en-US\\+nobody'"):
        espeak.render("Hello.", **{**VOICE, "variant": "nobody"})


def test_a_missing_package_is_one_clear_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(DataError, match="pip install espeakng-loader"):
        Espeak()
