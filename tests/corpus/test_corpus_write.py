"""The corpus as a folder: layout, determinism, held-out splits, and errors that leave nothing behind."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

import calm.corpus.write as write
from calm.corpus import CorpusSummary, generate_corpus
from calm.errors import DataError, InputError
from calm.types import TASKS

QUIET = Console(quiet=True)
SPLITS = ("train", "validation", "test")


def _make(out: Path, **options) -> CorpusSummary:
    short = {"seconds": 30, "seed": 3, "sound_seconds": (1, 2), "music_seconds": (2, 3), "console": QUIET}
    return generate_corpus(out, **(short | options))


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _lines(folder: Path, split: str) -> list[dict]:
    return [json.loads(line) for line in (folder / split / "metadata.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CorpusSummary]:
    out = tmp_path_factory.mktemp("corpus") / "mixed"
    return out, _make(out)


def test_every_line_names_a_file_of_the_stated_length_and_rate(corpus):
    out, summary = corpus
    listed = 0
    for split in SPLITS:
        for line in _lines(out, split):
            info = soundfile.info(out / split / line["file_name"])
            assert (info.format, info.subtype, info.channels) == ("FLAC", "PCM_16", 1)
            assert info.samplerate == line["sample_rate"] == 16_000
            assert info.frames / info.samplerate == pytest.approx(line["duration"], abs=1e-4)
            assert ("text" in line) == (line["task"] == "speech") == ("speaker" in line) != ("caption" in line)
            listed += 1
    assert listed == summary.clips == len(list(out.rglob("*.flac")))


def test_every_split_has_clips_of_every_task(corpus):
    out, summary = corpus
    assert {(s.task, s.split) for s in summary.shares} == {(t, s) for t in TASKS for s in SPLITS}
    assert all(share.clips >= 1 for share in summary.shares)
    for split in SPLITS:
        assert {line["task"] for line in _lines(out, split)} == set(TASKS)


def test_shares_of_the_tasks_are_reached_by_less_than_one_clip_more(corpus):
    _, summary = corpus
    seconds = {share.task: share.seconds for share in summary.shares if share.split == "train"}
    for task, share in {"speech": 0.5, "sound": 0.25, "music": 0.25}.items():
        assert 30 * 0.9 * share <= seconds[task] < 30 * 0.9 * share + 8


def test_voices_and_texts_of_the_held_out_splits_never_occur_in_training(corpus):
    out, _ = corpus
    train = _lines(out, "train")
    for split in ("validation", "test"):
        held_out = _lines(out, split)
        for key in ("speaker", "text", "caption"):
            assert not {line.get(key) for line in train} & {line[key] for line in held_out if key in line}


def test_levels_are_sane(corpus):
    out, _ = corpus
    for file in out.rglob("*.flac"):
        audio, _ = soundfile.read(file)
        assert 0.05 < np.abs(audio).max() <= 0.96
        assert 0.003 < np.sqrt(np.mean(audio**2)) < 0.4


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(corpus, tmp_path):
    out, _ = corpus
    _make(tmp_path / "again")
    _make(tmp_path / "other", seed=4)
    assert _bytes(tmp_path / "again") == _bytes(out)
    assert _lines(tmp_path / "other", "train") != _lines(out, "train")


def test_two_processes_write_the_same_bytes_as_one(corpus, tmp_path):
    out, _ = corpus
    _make(tmp_path / "parallel", num_workers=2)
    assert _bytes(tmp_path / "parallel") == _bytes(out)


def test_the_card_tells_what_the_corpus_is(corpus):
    out, summary = corpus
    card = (out / "README.md").read_text("utf-8")
    assert card.startswith("---\n") and "seed 3" in card and "$" not in card
    assert f"{summary.clips} clips" in card


def test_the_sample_rate_and_the_tasks_are_arguments(tmp_path):
    summary = _make(tmp_path / "out", sample_rate=22_050, task_shares={"speech": 1})
    assert {share.task for share in summary.shares} == {"speech"}
    assert soundfile.info(next((tmp_path / "out").rglob("*.flac"))).samplerate == 22_050


def test_scenes_are_drawn_by_their_shares(tmp_path):
    _make(tmp_path / "out", task_shares={"sound": 1}, scene_shares={"sequence": 1})
    rows = [json.loads(line) for line in (tmp_path / "out" / "train" / "metadata.jsonl").read_text("utf-8").splitlines()]
    assert rows and all(row["attributes"]["order"] == "sequence" for row in rows)


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty"):
        _make(tmp_path)
    assert _bytes(tmp_path) == {"mine.txt": b"keep"}


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "out").mkdir()
    _make(tmp_path / "out", task_shares={"sound": 1})
    assert (tmp_path / "out" / "train" / "metadata.jsonl").is_file()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("seconds", 1),
        ("seconds", float("nan")),
        ("seed", -1),
        ("sample_rate", 100),
        ("words", (9, 4)),
        ("sound_seconds", (0, 1)),
        ("num_workers", 0),
        ("task_shares", {"speach": 1}),
        ("split_shares", {"train": 0}),
        ("scene_shares", {"chorus": 1}),
    ],
)
def test_an_argument_that_is_not_accepted_is_named(tmp_path, option: str, value: object):
    with pytest.raises(InputError, match=option):
        _make(tmp_path / "out", **{option: value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError(errno.ENOSPC, "No space left on device")])
def test_nothing_is_left_after_an_interruption(tmp_path, monkeypatch, interruption):
    calls = []
    real = write.render_job

    def interrupted(job):
        if calls:
            raise interruption
        calls.append(job)
        return real(job)

    monkeypatch.setattr(write, "render_job", interrupted)
    expected = KeyboardInterrupt if interruption is KeyboardInterrupt else DataError
    with pytest.raises(expected) as error:
        _make(tmp_path / "out")
    assert calls and not list(tmp_path.iterdir())
    if expected is DataError:
        assert "no space left" in str(error.value) and "free some space" in str(error.value)


def test_a_disk_that_is_too_small_is_seen_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(write.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(DataError, match="are free"):
        _make(tmp_path / "out")
    assert not list(tmp_path.iterdir())
