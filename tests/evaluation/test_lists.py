"""Fixed lists."""

from __future__ import annotations

import pytest

from calm.errors import DataError
from calm.evaluation.lists import join_clips, load_clips, make_speech_list, voice_reference, voices_of
from calm.types import Task


def test_a_list_is_the_same_every_time_and_a_short_one_is_the_beginning_of_a_long_one(voices_corpus):
    whole = make_speech_list(voices_corpus, split="validation", size=20, seed=1)
    assert whole == make_speech_list(voices_corpus, split="validation", size=20, seed=1)
    assert whole[:5] == make_speech_list(voices_corpus, split="validation", size=5, seed=1)
    assert whole != make_speech_list(voices_corpus, split="validation", size=20, seed=2)


def test_a_reference_has_three_seconds_of_the_targets_voice_and_never_the_target(voices_corpus):
    for item in make_speech_list(voices_corpus, split="test", size=30):
        assert sum(clip.seconds for clip in item.reference) >= 3
        assert item.reference_audio.seconds >= 3
        assert {clip.voice for clip in item.reference} == {item.target.voice}
        assert item.target.path not in {clip.path for clip in item.reference}
        assert all("/test/" in str(clip.path) for clip in item.reference)


def test_clips_at_the_targets_rate_come_first_in_its_reference(voices_corpus):
    for item in make_speech_list(voices_corpus, split="validation", size=10):
        rates = [clip.attributes["rate"] == item.target.attributes["rate"] for clip in item.reference]
        assert rates == sorted(rates, reverse=True)


def test_a_trial_has_nine_other_speakers_those_of_the_split_first(voices_corpus):
    for item in make_speech_list(voices_corpus, split="validation", size=10):
        speakers = [name.partition("/")[0] for name in item.others]
        assert len(set(speakers)) == 9 and item.target.speaker not in speakers
        assert sum(name.startswith("validation_") for name in speakers) == 3


def test_a_voice_takes_part_in_trials_with_one_fixed_reference(voices_corpus):
    voices = voices_of(voices_corpus, "validation")
    name = "validation_0/low"
    chosen = voice_reference(name, voices[name])
    assert chosen == voice_reference(name, voices[name])
    assert join_clips(chosen).seconds >= 3


def test_a_missing_split_and_damaged_metadata_are_named(voices_corpus, tmp_path):
    with pytest.raises(DataError, match="no such split"):
        load_clips(tmp_path, split="test")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "metadata.jsonl").write_text('{"task": "speech"}\n')
    with pytest.raises(DataError, match=r"metadata\.jsonl:1"):
        load_clips(tmp_path, split="test")
    with pytest.raises(DataError, match="larger corpus"):
        make_speech_list(voices_corpus, split="validation", size=None, seed=0) and make_speech_list(
            _short(voices_corpus, tmp_path), split="validation"
        )


def _short(corpus, tmp_path):
    """One clip for each voice: nothing is left for a reference."""
    for split in ("train", "validation"):
        folder = tmp_path / "short" / split
        folder.mkdir(parents=True)
        lines = (corpus / split / "metadata.jsonl").read_text().splitlines()
        (folder / "metadata.jsonl").write_text("\n".join(lines[::6]) + "\n")
    return tmp_path / "short"


def test_only_the_task_that_is_asked_for_is_read(scenes_corpus):
    assert {clip.task for clip in load_clips(scenes_corpus, split="validation", task=Task.MUSIC)} == {Task.MUSIC}
