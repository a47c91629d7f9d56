from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
import torch

from calm.audio import encode, resample, write
from calm.errors import ConsentError, DataError
from calm.safety import Consent, audio_sha256
from calm.types import Waveform

START, END = date(2026, 1, 1), date(2026, 12, 31)


def clip(seed: int = 0, *, channels: int = 1) -> Waveform:
    noise = torch.rand(channels, 800, generator=torch.Generator().manual_seed(seed)) - 0.5
    return Waveform(audio=(noise * 32768).round() / 32768, sample_rate=8000)


def consent(**changes: object) -> Consent:
    options = {"who": "Ada", "purpose": "an audiobook", "granted": START, "expires": END, **changes}
    return Consent.new(clip(), **options)  # type: ignore[arg-type]


def test_a_saved_record_loads_as_it_was_and_allows_its_clip(tmp_path: Path) -> None:
    record = consent(statement=clip(1))
    path = record.save(tmp_path / "ada.json")
    assert Consent.load(path) == record
    assert Consent.load(path).sha256 == record.sha256
    Consent.load(path).verify(clip(), today=date(2026, 6, 1))


def test_the_same_samples_match_in_another_lossless_file_and_with_other_tags(tmp_path: Path) -> None:
    waveform = clip()
    wav = write(tmp_path / "a.wav", waveform, provenance=None)
    flac = encode(waveform, format="flac", provenance=None)
    assert audio_sha256(wav) == audio_sha256(flac) == audio_sha256(waveform) == audio_sha256(str(wav))


def test_other_samples_another_rate_and_another_channel_count_do_not_match() -> None:
    mono = clip()
    louder = Waveform(audio=mono.audio * 0.9, sample_rate=8000)
    relabelled = Waveform(audio=mono.audio, sample_rate=16000)
    folded = Waveform(audio=mono.audio.reshape(2, 400), sample_rate=8000)
    hashes = {audio_sha256(w) for w in (mono, louder, relabelled, folded, resample(mono, 16000), clip(3))}
    assert len(hashes) == 6


def test_another_clip_is_refused_by_name() -> None:
    with pytest.raises(ConsentError, match=r"(?s)not the one that Ada gave consent for.*ada\.json"):
        consent().verify(clip(1), today=START, where="ada.json")


def test_the_first_and_the_last_day_are_allowed_and_the_days_beside_them_are_not() -> None:
    record = consent()
    for day in (START, END):
        record.verify(clip(), today=day)
    with pytest.raises(ConsentError, match="expired on 2026-12-31; today is 2027-01-01"):
        record.verify(clip(), today=date(2027, 1, 1))
    with pytest.raises(ConsentError, match="holds from 2026-01-01; today is 2025-12-31"):
        record.verify(clip(), today=date(2025, 12, 31))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"who": "  "}, "'who' must say something"),
        ({"purpose": ""}, "'purpose' must say something"),
        ({"expires": date(2025, 1, 1)}, "would expire on 2025-01-01, before 2026-01-01"),
    ],
)
def test_an_incomplete_record_cannot_be_made(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConsentError, match=message):
        consent(**changes)


def test_a_record_needs_audio_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such audio file"):
        Consent.new(tmp_path / "gone.wav", who="Ada", purpose="a test", expires=date.max)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"who": None}, "lacks who"),
        ({"who": 3}, "'who' must say something"),
        ({"expires": ""}, "lacks expires"),
        ({"expires": "31.12.2026"}, "YYYY-MM-DD"),
        ({"expires": 20261231}, "YYYY-MM-DD"),
        ({"audio_sha256": "abc"}, "'audio_sha256' is not a SHA-256"),
        ({"statement_sha256": 5}, "'statement_sha256' is not a SHA-256"),
        ({"version": 2}, "Unknown version 2"),
        ({"purpos": "typo"}, "Did you mean 'purpose'"),
        ({"expires": "2025-12-31"}, "would expire"),
    ],
)
def test_a_damaged_record_is_one_clear_error_that_names_the_file(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = consent().save(tmp_path / "ada.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ConsentError, match=message) as error:
        Consent.load(path)
    assert "ada.json" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b" " * (2 << 20)])
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(ConsentError, match=r"bad\.json"):
        Consent.load(path)


def test_a_missing_record_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConsentError, match="calm consent new"):
        Consent.load(tmp_path / "gone.json")


def test_changing_the_purpose_changes_the_records_hash() -> None:
    assert consent().sha256 != consent(purpose="anything at all").sha256


def test_saved_records_keep_names_readable_and_leave_no_temporary_file(tmp_path: Path) -> None:
    path = consent(who="Zoë Müller").save(tmp_path / "z.json")
    assert "Zoë Müller" in path.read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["z.json"]
