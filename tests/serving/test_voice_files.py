"""The files of registered voices: for the server's user alone, and none left over by a process that was killed."""

from __future__ import annotations

import io
import os
import stat
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import soundfile

from calm.serving.voices import STALE_SECONDS, VoiceStore


def recording() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(0).normal(scale=2000, size=8000).astype("int16"), 8000, format="WAV")
    return buffer.getvalue()


def store(home: Path) -> VoiceStore:
    return VoiceStore(home, max_seconds=60.0, max_voices=10)


@pytest.fixture
def _open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_open_umask")
def test_nobody_else_may_read_a_registered_voice(tmp_path: Path):
    clip = recording()
    voice = store(tmp_path).add("ada", clip, who="A. Speaker", purpose="tests", expires=date.max, statement=clip)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "voices").rglob("*")}
    assert modes.pop(voice.id) == stat.S_IMODE((tmp_path / "voices").stat().st_mode) == 0o700
    assert modes == dict.fromkeys(["clip.wav", "statement.wav", "consent.json", "voice.json"], 0o600)


def left_over(home: Path, name: str, *, age_seconds: float) -> Path:
    folder = home / "voices" / name
    folder.mkdir(parents=True)
    (folder / "clip.wav").write_bytes(recording())
    moment = folder.stat().st_mtime - age_seconds
    os.utime(folder, (moment, moment))
    return folder


def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path: Path):
    voice = store(tmp_path).add("ada", recording(), who="A. Speaker", purpose="tests", expires=date.max)
    stale = left_over(tmp_path, f".new.voice_{'0' * 32}", age_seconds=STALE_SECONDS + 1)
    deleted = left_over(tmp_path, f".deleted.{'1' * 32}", age_seconds=0)
    assert store(tmp_path).list() == [voice]
    assert not stale.exists() and not deleted.exists()


def test_a_registration_under_way_in_another_process_is_left_alone(tmp_path: Path):
    under_way = left_over(tmp_path, f".new.voice_{'0' * 32}", age_seconds=0)
    store(tmp_path)
    assert (under_way / "clip.wav").exists()
