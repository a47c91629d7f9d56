from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import torch

from calm.audio import read_provenance, write
from calm.safety import Consent, stamp
from calm.types import Task, Waveform

CLIP = Waveform(audio=torch.linspace(-0.5, 0.5, 400)[None], sample_rate=8000)


def test_the_stamp_of_a_generation_comes_back_from_its_file(tmp_path: Path) -> None:
    consent = Consent.new(CLIP, who="Ada", purpose="a test", granted=date(2026, 1, 1), expires=date(2026, 2, 1))
    record = stamp(model="mini", task=Task.SPEECH, seed=3, prompt="Hello", model_sha256="ab" * 32, consent=consent)
    assert read_provenance(write(tmp_path / "a.flac", CLIP, provenance=record)) == record
    assert record.consent_sha256 == consent.sha256
    assert record.task == "speech" and record.generator.startswith("AudioCALM ")


def test_the_prompt_itself_is_not_kept() -> None:
    record = stamp(model="mini", task=Task.SOUND, seed=0, prompt="a secret prompt")
    assert record.prompt_sha256 == hashlib.sha256(b"a secret prompt").hexdigest()
    assert "secret" not in record.to_json()


def test_the_time_is_written_in_utc() -> None:
    moment = datetime(2026, 3, 4, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert stamp(model="m", task=Task.MUSIC, seed=0, created=moment).created == "2026-03-03T23:30:00+00:00"


def test_without_a_time_it_is_now() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    created = datetime.fromisoformat(stamp(model="m", task=Task.MUSIC, seed=0).created)
    assert before <= created <= datetime.now(UTC)


def test_what_is_not_known_is_not_written() -> None:
    assert "sha256" not in stamp(model="m", task=Task.MUSIC, seed=0).to_json()
