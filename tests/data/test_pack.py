from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from calm.data.check import check
from calm.data.pack import pack
from calm.data.schema import violations
from calm.data.shards import ShardSet
from calm.data.transcode import to_flac
from calm.errors import DataError, InputError
from tests.data.clips import RATE, write_corpus, write_manifest

REAL = Path(__file__).resolve().parents[3] / "shared" / "real"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_input_gives_the_same_bytes(tmp_path):
    source = write_corpus(tmp_path / "source", num_speech=3)
    pack(source, tmp_path / "a" / "x", samples_per_shard=4)
    pack(source, tmp_path / "b" / "x", samples_per_shard=4)
    first = contents(tmp_path / "a")
    assert first == contents(tmp_path / "b")
    assert sum(name.endswith(".tar") for name in first) == 3 and "x/x-000000.index.jsonl" in first


def test_flac_is_copied_and_wav_keeps_every_sample(tmp_path, shards):
    source = shards.parent / "source"
    with tarfile.open(shards / "shards-000000.tar") as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
    flac = {name for name in members if name.endswith(".flac")}
    assert flac
    for name in flac:
        origin = json.loads(members[name.replace(".flac", ".json")])["source"]
        if origin.endswith(".flac"):
            assert members[name] == (source / origin).read_bytes()
        else:
            (tmp_path / name).write_bytes(members[name])
            np.testing.assert_array_equal(
                soundfile.read(tmp_path / name, dtype="int16")[0], soundfile.read(source / origin, dtype="int16")[0]
            )


def test_float_wav_becomes_24_bit_flac_and_overshoot_is_reported(tmp_path):
    audio = np.linspace(-1.2, 1.2, 4000)
    soundfile.write(tmp_path / "a.wav", audio, 96000, subtype="FLOAT")
    write_manifest(tmp_path, [{"file_name": "a.wav", "task": "music", "text": "x"}])
    report = pack(tmp_path, tmp_path / "out")
    shards = ShardSet.open(tmp_path / "out")
    sample = shards.read(0)
    assert report.clipped == ("a.wav",) and sample.waveform.sample_rate == 96000
    assert np.abs(sample.waveform.audio[0].numpy() - audio.clip(-1, 1)).max() < 2**-22


def test_plain_webdataset_reads_the_shards(shards):
    webdataset = pytest.importorskip("webdataset")
    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert len(samples) == 16 and all({"flac", "json"} <= set(sample) for sample in samples)


def test_splits_become_subfolders(tmp_path):
    for split in ("train", "validation"):
        write_corpus(tmp_path / "source" / split, num_speech=2, num_sound=1, num_music=0)
    report = pack(tmp_path / "source", tmp_path / "out")
    assert [p.parent.name for p in report.shards] == ["train", "validation"]
    assert report.clips == 6 and check(tmp_path / "out").clips == 6
    with pytest.raises(DataError, match="No shards here") as caught:
        ShardSet.open(tmp_path / "out")
    assert "train, validation" in str(caught.value)


BAD_AUDIO = {"empty": b"", "text": b"hello" * 100, "missing": None}


@pytest.mark.parametrize("kind", BAD_AUDIO)
def test_a_bad_file_stops_packing_with_its_name_and_leaves_nothing(tmp_path, kind):
    source = write_corpus(tmp_path / "source", num_speech=2)
    bad = source / "speech_1.wav"
    bad.unlink()
    if BAD_AUDIO[kind] is not None:
        bad.write_bytes(BAD_AUDIO[kind])
    with pytest.raises(DataError) as caught:
        pack(source, tmp_path / "out")
    assert "speech_1.wav" in str(caught.value.where) and "metadata.jsonl:2" in str(caught.value.where)
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_bad_files_can_be_skipped_counted_and_listed(tmp_path):
    source = write_corpus(tmp_path / "source", num_speech=3)
    (source / "speech_1.wav").write_bytes(b"")
    soundfile.write(source / "sound_0.flac", np.zeros(0), RATE)
    report = pack(source, tmp_path / "out", on_error="skip")
    assert {p.file for p in report.problems} == {"speech_1.wav", "sound_0.flac"}
    lines = (tmp_path / "out" / "problems.jsonl").read_text().splitlines()
    assert report.clips == 9 and {json.loads(line)["file"] for line in lines} == {"speech_1.wav", "sound_0.flac"}


def test_nan_audio_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.0, np.nan, 0.0]), RATE, subtype="FLOAT")
    write_manifest(tmp_path, [{"file_name": "a.wav", "task": "sound", "text": "x"}])
    with pytest.raises(DataError, match="not finite"):
        pack(tmp_path, tmp_path / "out")


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    source = write_corpus(tmp_path / "source")

    def interrupt(done: int, total: int, name: str) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(source, tmp_path / "out", samples_per_shard=4, progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_a_folder_with_content_is_never_touched(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        pack(write_corpus(tmp_path / "source"), tmp_path / "out")
    assert contents(tmp_path / "out") == {"mine": b"x"}


def test_names_with_dots_and_folders_become_distinct_keys(tmp_path):
    source = write_corpus(tmp_path / "source", num_speech=0, num_sound=2, num_music=0)
    (source / "a").mkdir()
    (source / "sound_0.flac").rename(source / "a" / "x.y.flac")
    (source / "sound_1.wav").rename(source / "a_x_y.wav")
    rows = [{"file_name": name, "task": "sound", "text": "x"} for name in ("a/x.y.flac", "a_x_y.wav")]
    write_manifest(source, rows)
    pack(source, tmp_path / "out")
    assert {row.clip.key for row in ShardSet.open(tmp_path / "out").rows} == {"a_x_y", "a_x_y_2"}


@pytest.mark.skipif(not REAL.is_dir(), reason="the real recordings (../shared/real) are not here")
def test_real_recordings_are_packed_whole_and_check_clean(tmp_path):
    pack(REAL, tmp_path / "real", samples_per_shard=100)
    report = check(tmp_path / "real")
    assert report.ok, report
    assert report.clips == 313 and report.shards == 4
    assert {task: round(seconds) for task, seconds in report.seconds.items()} == {
        "speech": 774,
        "sound": 20,
        "music": 350,
    }
    assert set(report.sample_rates) == {8000, 22050, 44100, 48000, 96000} and set(report.channels) == {1, 2}
    shards = ShardSet.open(tmp_path / "real")
    assert shards.read(shards.by_task["speech"][0]).text


@pytest.mark.parametrize("form", ["mp3", "aiff", "au", "w64", "wav"])
def test_a_source_that_was_cut_short_is_refused(tmp_path, form):
    path = tmp_path / f"a.{form}"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(8 * RATE), RATE, format=form.upper())
    assert to_flac(path, where="line 1").info.frames == 8 * RATE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="cut short"):
        to_flac(path, where="line 1")


def test_a_text_that_no_training_could_read_is_refused(tmp_path):
    source = write_corpus(tmp_path / "source", num_speech=2)
    write_manifest(source, [{"file_name": "speech_0.wav", "task": "speech", "text": "word " * 4001}])
    with pytest.raises(DataError, match="20,005 characters"):
        pack(source, tmp_path / "out")
    assert any("maxLength" not in found and "20,001" in found for found in violations({"task": "sound", "caption": "a" * 20_001}))


def test_names_and_words_may_hold_every_separator_of_lines(tmp_path):
    source = write_corpus(tmp_path / "source", num_speech=2, num_sound=0, num_music=0)
    odd = "Ann\u2028B\u0085C\x0cD"
    write_manifest(source, [{"file_name": "speech_1.wav", "task": "speech", "text": odd, "speaker": odd}])
    pack(source, tmp_path / "out")
    shards = ShardSet.open(tmp_path / "out")
    assert shards.rows[0].clip.speaker == odd and shards.read(0).text == odd


def test_a_clip_of_more_than_an_hour_is_read_whole(tmp_path):
    soundfile.write(tmp_path / "long.wav", np.zeros(3700 * 1000, np.int16), 1000)
    write_manifest(tmp_path, [{"file_name": "long.wav", "task": "sound", "text": "Silence."}])
    pack(tmp_path, tmp_path / "out")
    assert ShardSet.open(tmp_path / "out").read(0).waveform.seconds == 3700
