"""Prepared clips tell nothing: one form, one level, no tags, names of chance; spoilt ones are bad."""

from __future__ import annotations

import dataclasses
import struct

import numpy as np
import pytest
import torch

from calm import audio
from calm.audio.analysis import loudness_lufs
from calm.errors import DataError, InputError
from calm.evaluation.manifest import Manifest
from calm.listening import ListeningTest, Settings, prepare
from calm.listening.records import VOLUME
from calm.listening.stimuli import PEAK, match_loudness, spoil
from calm.types import Task, Waveform
from tests.listening.lab import SYSTEMS, make_clips, make_test, tone

TASKS = {Task.SPEECH: 2, Task.SOUND: 2}


@pytest.fixture(scope="module")
def test(tmp_path_factory) -> ListeningTest:
    return make_test(tmp_path_factory.mktemp("lab"), tasks=TASKS)


def chunks(data: bytes) -> list[str]:
    """Names of the chunks of a RIFF file."""
    found, place = [], 12
    while place + 8 <= len(data):
        found.append(data[place : place + 4].decode("latin-1"))
        place += 8 + struct.unpack("<I", data[place + 4 : place + 8])[0]
    return found


def test_levels_of_all_clips_are_matched(test):
    for stimulus in test.stimuli:
        clip = audio.read(test.audio(stimulus.name))
        assert abs(loudness_lufs(clip.audio.double().numpy(), clip.sample_rate) - -23.0) < 0.5
        assert float(clip.audio.abs().max()) <= PEAK + 1e-4


def test_the_sources_were_not_matched_before(test):
    """Otherwise the test above could not fail."""
    levels = [audio.level_dbfs(audio.read(stimulus.source).audio) for stimulus in test.rated]
    assert max(levels) - min(levels) > 20


def test_clips_of_a_task_have_one_rate_and_one_number_of_channels(test):
    for task in TASKS:
        headers = [audio.info(test.audio(s.name)) for s in test.stimuli if s.task == task]
        assert {(header.sample_rate, header.channels, header.format) for header in headers} == {
            (24_000, 2, "WAV/PCM_16")
        }


def test_files_have_no_tag_no_origin_and_no_telling_name(test):
    for stimulus in test.stimuli:
        data = test.audio(stimulus.name).read_bytes()
        assert chunks(data) == ["fmt ", "data"]
        assert audio.read_provenance(test.audio(stimulus.name)) is None
        assert not any(word in stimulus.name for word in (*SYSTEMS, stimulus.item))
    assert audio.read_provenance(test.rated[0].source) is not None


def bursts(num_loud: int) -> Waveform:
    """Soft noise with so many loud samples."""
    clip = tone(2, sample_rate=16_000, gain=0.01)
    clip.audio[0, 4_000 : 4_000 + num_loud] = tone(3, sample_rate=16_000, gain=1.0).audio[0, 4_000 : 4_000 + num_loud]
    return clip


@pytest.mark.parametrize(("num_loud", "alike"), [(100, True), (4, False)])
def test_a_clip_with_high_peaks_makes_its_item_softer_but_no_more_than_10_db(num_loud, alike):
    clips = match_loudness([bursts(num_loud), tone(1, sample_rate=16_000)], lufs=-23.0)
    peaky, other = (loudness_lufs(clip.audio.double().numpy(), 16_000) for clip in clips)
    assert -33.01 <= other < -23.5
    assert (abs(peaky - other) < 0.01) is alike
    assert float(clips[0].audio.abs().max()) == pytest.approx(PEAK, abs=1e-6)  # nothing is clipped


def test_silence_stays_silence_and_makes_nothing_else_silent():
    clips = [Waveform(audio=torch.zeros(1, 8_000), sample_rate=16_000), tone(1, sample_rate=16_000)]
    silent, loud = match_loudness(clips, lufs=-23.0)
    assert not silent.audio.any()
    assert loudness_lufs(loud.audio.double().numpy(), 16_000) == pytest.approx(-23.0, abs=0.01)


def test_a_spoilt_clip_has_lost_half_of_its_signal_under_loud_noise():
    clip = tone(1, sample_rate=16_000, seconds=4.0)
    found = spoil(clip, rng=np.random.default_rng(0)).audio[0].double().numpy()
    original = clip.audio[0].double().numpy()
    share = found @ original / (original @ original)
    assert 0.35 < share < 0.65
    rest = found - share * original
    assert 10 * np.log10((share * original) @ (share * original) / (rest @ rest)) < 0.0


def test_long_clips_are_cut_alike(tmp_path):
    test = make_test(tmp_path, tasks={Task.SPEECH: 1}, max_seconds=0.3)
    assert {audio.info(test.audio(stimulus.name)).seconds for stimulus in test.stimuli} == {0.3}


def test_what_is_missing_extra_or_damaged_is_left_out_and_named(tmp_path):
    manifest = make_clips(tmp_path, tasks={Task.SOUND: 4})
    folder = tmp_path / "zebra"
    (folder / "secret-sound-0.wav").unlink()
    (folder / "secret-sound-1.wav").write_bytes(b"RIFFnonsense")
    audio.write(folder / "other.wav", tone(1, sample_rate=16_000), provenance=None)
    test = prepare(manifest, systems={"zebra": folder}, folder=tmp_path / "test")
    skipped = test.systems["zebra"]["skipped"]
    assert skipped["missing"] == ["secret-sound-0"] and skipped["extra"] == ["other.wav"]
    assert list(skipped["unusable"]) == ["secret-sound-1"]
    assert {stimulus.item for stimulus in test.rated} == {"secret-sound-2", "secret-sound-3"}


def test_preparing_again_keeps_the_prepared_clips(tmp_path):
    test = make_test(tmp_path, tasks={Task.SPEECH: 1})
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "test").rglob("*.wav")}
    assert make_test(tmp_path, tasks={Task.SPEECH: 1}) == test == ListeningTest.read(tmp_path / "test")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "test").rglob("*.wav")}
    assert len(before) == len(test.stimuli) + 1 and test.audio(VOLUME) in before


def test_other_settings_prepare_a_folder_anew_and_leave_nothing_old(tmp_path):
    old = make_test(tmp_path, tasks={Task.SPEECH: 1})
    new = make_test(tmp_path, tasks={Task.SPEECH: 1}, seed=5)
    names = {path.stem for path in (tmp_path / "test" / "audio").iterdir()}
    assert names == {VOLUME, *(stimulus.name for stimulus in new.stimuli)}
    assert not names & {stimulus.name for stimulus in old.stimuli}


@pytest.mark.parametrize(
    ("systems", "message"), [({}, "needs a system"), ({"a": "nowhere"}, "no such folder"), ({"a": "."}, "No system")]
)
def test_a_test_without_clips_is_refused(systems, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manifest = make_clips(tmp_path / "clips", tasks={Task.SPEECH: 1})
    with pytest.raises((InputError, DataError), match=message):
        prepare(manifest, systems=systems, folder=tmp_path / "test")


@pytest.mark.parametrize("wrong", [{"items_per_listener": 0}, {"num_checks": -1}, {"loudness_lufs": 3.0}])
def test_a_setting_out_of_range_is_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Settings(**wrong)


def test_a_damaged_description_of_a_test_is_one_message(tmp_path):
    test = make_test(tmp_path, tasks={Task.SPEECH: 1})
    (test.folder / "test.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        ListeningTest.read(test.folder)
    with pytest.raises(DataError, match="no listening test"):
        ListeningTest.read(tmp_path / "elsewhere")


def test_originals_alone_make_a_test(tmp_path):
    manifest = make_clips(tmp_path, tasks={Task.MUSIC: 1})
    without = Manifest(name="x", items=(dataclasses.replace(manifest.items[0], target=None),))
    assert (
        prepare(manifest, systems={"originals": None}, folder=tmp_path / "test").systems["originals"]["num_clips"] == 1
    )
    with pytest.raises(DataError, match="No system"):
        prepare(without, systems={"originals": None}, folder=tmp_path / "other")
