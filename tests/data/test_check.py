from __future__ import annotations

import io
import shutil
import tarfile

import numpy as np
import pytest
import soundfile

from calm.data.check import check, write_index
from calm.data.index import index_path, load_index
from calm.data.shards import ShardSet
from calm.errors import DataError


def flac(frames: int = 800) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.1 * np.sin(np.arange(frames)), 8000, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


RECORD = b'{"task": "sound", "caption": "a tone"}'


def write_tar(path, members, **options):
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members:
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(data, bytes):
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            else:
                info.name = name
                tar.addfile(info)
    return path


@pytest.fixture
def shard(shards, tmp_path):
    """A copy of one good shard, with its index."""
    original = sorted(shards.glob("*.tar"))[0]
    shutil.copy(index_path(original), tmp_path)
    return shutil.copy(original, tmp_path) and tmp_path / original.name


def test_a_good_folder_is_counted_and_has_no_problems(shards):
    report = check(shards)
    assert report.ok and report.clips == 16 and report.shards == 3
    assert report.clips_by_task == {"speech": 8, "sound": 4, "music": 4}
    assert report.speakers == ("voice0", "voice1") and report.sample_rates == {8000: 16}
    assert "no problems" in str(report)


@pytest.mark.parametrize("with_index", [True, False])
def test_a_shard_cut_short_anywhere_is_noticed(shard, with_index):
    data = shard.read_bytes()
    end = len(data.rstrip(b"\0"))
    places = np.random.default_rng(1).integers(0, end, size=25).tolist()
    # Header boundaries are where tarfile believes that the archive has ended.
    places += [c.audio_offset - 512 for c in load_index(shard).clips] + [end + 600]
    if not with_index:
        index_path(shard).unlink()
    for place in places:
        shard.write_bytes(data[:place])
        problems = check(shard).problems
        assert any("cut short" in p.reason for p in problems), place


def test_a_cut_shard_is_refused_when_it_is_opened(shard):
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DataError, match="cut short") as caught:
        ShardSet.open(shard)
    assert caught.value.where == shard


def test_a_flipped_byte_anywhere_is_noticed_and_its_clip_is_named(shard):
    data = shard.read_bytes()
    clips = load_index(shard).clips
    rng = np.random.default_rng(2)
    for place in rng.integers(0, len(data), size=60).tolist():
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        shard.write_bytes(damaged)
        problems = check(shard).problems
        assert problems and all(p.shard == shard.name for p in problems), place
        for clip in clips:
            spans = ((clip.audio_offset, clip.audio_size), (clip.json_offset, clip.json_size))
            if any(start <= place < start + size for start, size in spans):
                assert {p.key for p in problems} == {clip.key}, place


def test_reading_a_clip_with_a_flipped_byte_names_shard_and_key(shard):
    clip = load_index(shard).clips[2]
    damaged = bytearray(shard.read_bytes())
    damaged[clip.audio_offset + clip.audio_size // 2] ^= 1
    shard.write_bytes(damaged)
    shards = ShardSet.open(shard)
    with pytest.raises(DataError, match="crc32") as caught:
        shards.read(2)
    assert caught.value.where == f"{shard}: {clip.key}"
    assert shards.read(1).key == load_index(shard).clips[1].key


def special(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, "/etc/passwd"
    return info


BAD_TARS = {
    "KEY.json is missing": [("a.flac", flac())],
    "0 audio members": [("a.json", RECORD)],
    "occurs more than once": [(f"{key}.{e}", d) for key in "aba" for e, d in (("flac", flac()), ("json", RECORD))],
    "duplicate member '.flac'": [("a.flac", flac()), ("a.flac", flac()), ("a.json", RECORD)],
    "unknown member '.pyd'": [("a.flac", flac()), ("a.json", RECORD), ("a.pyd", b"x")],
    "cannot be decoded": [("a.flac", b"nonsense"), ("a.json", RECORD)],
    "`task` is 'noise'": [("a.flac", flac()), ("a.json", b'{"task": "noise", "text": "x"}')],
    "`text` or `caption`": [("a.flac", flac()), ("a.json", b'{"task": "sound"}')],
    "cannot be read": [("a.flac", flac()), ("a.json", b'{"task": NaN}')],
    "says sample_rate 16000": [("a.flac", flac()), ("a.json", RECORD[:-1] + b', "sample_rate": 16000}')],
    "says 9 s": [("a.flac", flac()), ("a.json", RECORD[:-1] + b', "duration": 9}')],
    "not a safe key": [("../../a.flac", flac()), ("../../a.json", RECORD)],
    "link, device": [("a.flac", special(tarfile.SYMTYPE))],
    "special file": [("a.flac", special(tarfile.CHRTYPE))],
}


@pytest.mark.parametrize("reason", BAD_TARS)
def test_everything_that_is_wrong_with_a_shard_is_reported(tmp_path, reason):
    good = [("z.flac", flac()), ("z.json", RECORD)]
    report = check(write_tar(tmp_path / "x.tar", good + BAD_TARS[reason]))
    assert any(reason in p.reason for p in report.problems), report.problems
    assert report.clips >= 1
    with pytest.raises(DataError):
        write_index(tmp_path / "x.tar")


def test_non_finite_audio_is_reported(tmp_path):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.array([0.0, np.inf]), 8000, format="WAV", subtype="FLOAT")
    report = check(write_tar(tmp_path / "x.tar", [("a.wav", buffer.getvalue()), ("a.json", RECORD)]))
    assert any(p.key == "a" and "not finite" in p.reason for p in report.problems)


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_index_can_be_made_for_shards_of_other_programs(tmp_path, format_):
    key = "folder/" + "k" * (60 if format_ == tarfile.USTAR_FORMAT else 150)
    shard = write_tar(tmp_path / "x.tar", [(f"{key}.flac", flac()), (f"{key}.json", RECORD)], format=format_)
    assert any("no index" in p.reason for p in check(shard).problems)
    with pytest.raises(DataError, match="write_index"):
        ShardSet.open(shard)
    write_index(shard)
    assert check(shard).ok
    assert ShardSet.open(shard).read(0).key == key


def test_a_stale_or_damaged_index_is_reported(shard):
    path = index_path(shard)
    text = path.read_text()
    path.write_text(text.replace('"speaker": "voice0"', '"speaker": "voice9"', 1))
    assert any("stale" in p.reason for p in check(shard).problems)
    path.write_text(text[: len(text) // 2])
    assert any("index is damaged" in p.reason for p in check(shard).problems)
    path.write_text(text.replace('"audio_offset": ', '"audio_offset": 9999999', 1))
    assert not check(shard).ok
    with pytest.raises(DataError):
        ShardSet.open(shard)
    for field in ("audio_offset", "audio_size", "json_offset", "json_size"):
        path.write_text(text.replace(f'"{field}": ', f'"{field}": {"9" * 30}', 1))
        assert any("cut short" in p.reason for p in check(shard).problems)
    path.write_text(text.replace('"crc32": ', '"crc32": 1e999, "before": ', 1))
    assert any("index is damaged" in p.reason for p in check(shard).problems)


def test_an_excerpt_is_the_same_samples_as_in_the_whole_clip(shards):
    opened = ShardSet.open(shards)
    row = opened.by_task["speech"][0]
    whole, part = opened.read(row), opened.read(row, start_seconds=0.5, max_seconds=0.25)
    np.testing.assert_array_equal(part.waveform.audio, whole.waveform.audio[:, 4000:6000])


def test_the_written_schema_is_the_one_that_is_checked():
    import json
    from pathlib import Path

    from calm.data.schema import SCHEMA

    path = Path(__file__).resolve().parents[2] / "data_shards" / "schema.json"
    assert json.loads(path.read_text()) == SCHEMA
