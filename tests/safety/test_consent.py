from __future__ import annotations

import hashlib
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


def test_every_record_has_an_id_of_its_own() -> None:
    assert consent().id and consent().id != consent().id


#: as this project wrote them before records had an id
OLDER = {
    "who": "Ada",
    "purpose": "an audiobook",
    "granted": "2026-01-01",
    "expires": "2026-12-31",
    "audio_sha256": "0" * 64,
    "statement_sha256": None,
    "version": 1,
}


def test_an_older_record_loads_and_keeps_the_hash_that_its_files_name(tmp_path: Path) -> None:
    (tmp_path / "ada.json").write_text(json.dumps(OLDER))
    record = Consent.load(tmp_path / "ada.json")
    assert record.id is None and record.who == "Ada"
    assert record.sha256 == hashlib.sha256(json.dumps(OLDER, sort_keys=True).encode()).hexdigest()


def test_a_record_that_was_changed_afterwards_is_refused(tmp_path: Path) -> None:
    path = consent().save(tmp_path / "ada.json")
    path.write_text(path.read_text().replace("2026-12-31", "2036-12-31"))
    with pytest.raises(ConsentError, match="changed after it was made"):
        Consent.load(path)


def test_equal_records_are_equal_files_and_the_file_holds_the_records_hash(tmp_path: Path) -> None:
    record = consent(statement=clip(1))
    one, two = record.save(tmp_path / "1.json"), Consent.load(tmp_path / "1.json").save(tmp_path / "2.json")
    assert one.read_bytes() == two.read_bytes()
    assert json.loads(one.read_text())["record_sha256"] == record.sha256


@pytest.mark.parametrize("purpose", [None, "an audiobook, films", "Audiobook".join(["an ", ""]), "  films ", "FILMS"])
def test_a_purpose_that_was_agreed_to_is_allowed(purpose: str | None) -> None:
    consent(purpose="an audiobook, films").verify(clip(), today=START, purpose=purpose)


@pytest.mark.parametrize("purpose", ["an audio", "advertising", "", "films, advertising"])
def test_another_purpose_is_refused_with_what_was_agreed_to(purpose: str) -> None:
    with pytest.raises(ConsentError, match=rf"(?s)not given for '{purpose}'.*ada\.json.*an audiobook, films"):
        consent(purpose="an audiobook, films").verify(clip(), today=START, purpose=purpose, where="ada.json")


def test_a_recorded_statement_is_named_and_compared(tmp_path: Path) -> None:
    said = write(tmp_path / "said.wav", clip(1), provenance=None)
    record = consent(statement=said)
    assert record.statement_file == said.as_posix() and consent(statement=clip(1)).statement_file is None
    record.verify(clip(), today=START, statement=said)
    with pytest.raises(ConsentError, match=r"statement is not the one that Ada made"):
        record.verify(clip(), today=START, statement=clip(2))
    with pytest.raises(ConsentError, match="names no recorded statement"):
        consent().verify(clip(), today=START, statement=said)


@pytest.mark.parametrize("name", ["id", "statement_file"])
def test_a_field_that_is_no_text_is_refused(tmp_path: Path, name: str) -> None:
    path = consent().save(tmp_path / "ada.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), name: 3}))
    with pytest.raises(ConsentError, match=f"'{name}' is not a text"):
        Consent.load(path)


@pytest.mark.parametrize(("name", "most"), [("who", 300), ("purpose", 300), ("id", 64), ("statement_file", 300)])
def test_a_field_is_a_line_of_bounded_length(tmp_path: Path, name: str, most: int) -> None:
    path = tmp_path / "ada.json"
    path.write_text(json.dumps({**OLDER, name: "x" * most}))
    assert getattr(Consent.load(path), name) == "x" * most
    for value in ("x" * (most + 1), "a\nb", "a\x1b[2J", "\x7f", "\ud800"):
        path.write_text(json.dumps({**OLDER, name: value}))
        with pytest.raises(ConsentError, match=rf"(?s)'{name}' is too long, or no plain line.*at most {most} characters"):
            Consent.load(path)


def test_a_record_that_could_not_be_loaded_is_not_made() -> None:
    for changes in ({"who": "x" * 301}, {"purpose": "films\nand more"}):
        with pytest.raises(ConsentError, match="too long, or no plain line"):
            consent(**changes)
