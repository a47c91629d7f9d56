"""Consent of a speaker: who allows which clip of their voice to be used, for what, until when."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from calm.audio import write_bytes
from calm.errors import ConsentError, did_you_mean
from calm.safety.samples import Audio, audio_sha256

__all__ = ["MAX_CHARACTERS", "Consent", "audio_sha256"]

VERSION = 1
MAX_BYTES = 1 << 20
#: characters of a field: each is repeated in messages, and the id in every file made with the record
MAX_CHARACTERS = {"who": 300, "purpose": 300, "id": 64, "statement_file": 300}
#: Unicode categories that a line of text has no use for: control characters, halves of a pair
UNWRITABLE = ("Cc", "Cs")
#: the file's last line: hash of the record, so that a later change is noticed
RECORD_HASH = "record_sha256"
NEW_HINT = "make a record with `calm consent new`, with the speaker's agreement"


@dataclass(frozen=True, kw_only=True)
class Consent:
    """A consent record. It is a JSON file that a person can read and a company can audit.

    Args:
        who: the speaker whose voice it is.
        purpose: what the voice may be used for.
        granted: first day on which the consent holds.
        expires: last day on which it holds.
        audio_sha256: `audio_sha256` of the reference clip.
        statement_sha256: the same of a recorded statement of consent, where there is one.
        version: version of the record's format.
        id: a name of its own for the record, for lists and audits; records of before have none.
        statement_file: where the recorded statement lies, as it was given, where it was a file.
    """

    who: str
    purpose: str
    granted: date
    expires: date
    audio_sha256: str
    statement_sha256: str | None = None
    version: int = VERSION
    id: str | None = None
    statement_file: str | None = None

    @classmethod
    def new(
        cls,
        ref_audio: Audio,
        *,
        who: str,
        purpose: str,
        expires: date,
        granted: date | None = None,
        statement: Audio | None = None,
    ) -> Consent:
        """Make the record for one reference clip (path, file bytes, or waveform at its native rate).

        ``granted`` is today by default.
        Raises ConsentError where a field is empty, too long (``MAX_CHARACTERS``) or has control characters, or the
        dates are in the wrong order, and DataError where the audio cannot be read.
        """
        record = cls(
            who=who.strip(),
            purpose=purpose.strip(),
            granted=date.today() if granted is None else granted,
            expires=expires,
            audio_sha256=audio_sha256(ref_audio),
            statement_sha256=None if statement is None else audio_sha256(statement),
            id=str(uuid.uuid4()),
            statement_file=Path(statement).as_posix() if isinstance(statement, str | os.PathLike) else None,
        )
        record._check(where=None)
        return record

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the record as JSON with its own hash, complete or not at all; returns the path.

        The order of keys is that of the fields: equal records are equal files.
        """
        values = {**self._as_json(), RECORD_HASH: self.sha256}
        return write_bytes(path, (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Consent:
        """Read a record. Raises ConsentError where it is missing, damaged, incomplete or changed since it was made."""
        return cls.parse(_read_json(Path(path)), where=path)

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, where: object) -> Consent:
        """The record in the JSON object of its file; raises as ``load`` does. ``where`` names it in messages."""
        values = dict(values)
        stated = values.pop(RECORD_HASH, None)
        known = {field.name: field for field in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                guess = did_you_mean(key, known) or ""
                raise ConsentError(f"Unknown field '{key}'. {guess}".strip(), where=where, allowed=known)
        required = [name for name, field in known.items() if field.default is dataclasses.MISSING]
        missing = [name for name in required if values.get(name) in (None, "")]
        if missing:
            raise ConsentError(f"The consent record lacks {', '.join(missing)}", where=where, hint=NEW_HINT)
        if values.get("version", VERSION) != VERSION:
            raise ConsentError(
                f"Unknown version {values['version']!r} of a consent record", where=where, allowed=[VERSION]
            )
        dates = {name: _parse_date(values[name], name, where) for name in ("granted", "expires")}
        record = cls(**{**values, **dates})
        record._check(where=where)
        if stated is not None and stated != record.sha256:
            raise ConsentError("The consent record was changed after it was made", where=where, hint=NEW_HINT)
        return record

    def verify(
        self,
        ref_audio: Audio,
        *,
        today: date,
        where: object = None,
        purpose: str | None = None,
        statement: Audio | None = None,
    ) -> None:
        """Check that this record allows the use of ``ref_audio`` on the day ``today``.

        Args:
            ref_audio: the clip as it was given: not resampled, not cut.
            today: the current day of the caller's clock.
            where: the record's file, for messages.
            purpose: what the clip is used for now: one of the record's purposes, see ``purposes``.
            statement: the recorded statement, to be compared with the record's hash of it.
        Raises ConsentError where the record is not valid yet, has expired, belongs to another clip or another
        statement, or was given for another purpose.
        """
        self._check(where=where)
        self.check_day(today, where=where)
        if purpose is not None and _plain(purpose) not in map(_plain, (self.purpose, *self.purposes)):
            raise ConsentError(
                f"The consent of {self.who} was not given for '{purpose}'", where=where, allowed=self.purpose
            )
        if audio_sha256(ref_audio) != self.audio_sha256:
            raise ConsentError(
                f"The reference clip is not the one that {self.who} gave consent for",
                where=where,
                hint="give the clip that the record was made for, or " + NEW_HINT,
            )
        if statement is not None:
            self._verify_statement(statement, where=where)

    def check_day(self, today: date, *, where: object = None) -> None:
        """Raise ConsentError where the record does not hold yet, or no longer, on the day ``today``."""
        if today < self.granted:
            raise ConsentError(f"The consent of {self.who} holds from {self.granted}; today is {today}", where=where)
        if today > self.expires:
            raise ConsentError(
                f"The consent of {self.who} expired on {self.expires}; today is {today}",
                where=where,
                hint="ask the speaker for a new consent",
            )

    def _verify_statement(self, statement: Audio, *, where: object) -> None:
        if self.statement_sha256 is None:
            raise ConsentError("The consent record names no recorded statement", where=where, hint=NEW_HINT)
        if audio_sha256(statement) != self.statement_sha256:
            raise ConsentError(
                f"The recorded statement is not the one that {self.who} made",
                where=where,
                hint=f"give the file that the record was made with ({self.statement_file or 'its name was not kept'})",
            )

    @property
    def purposes(self) -> list[str]:
        """The single purposes: ``purpose``, split at commas and semicolons."""
        return [part.strip() for part in re.split("[,;]", self.purpose) if part.strip()]

    @property
    def sha256(self) -> str:
        """The record's own hash, by which a generated file names it."""
        return hashlib.sha256(json.dumps(self._as_json(), sort_keys=True).encode()).hexdigest()

    def _as_json(self) -> dict[str, Any]:
        # What came later is left out where it says nothing: the hashes of older records stay what they were.
        return {
            key: value.isoformat() if isinstance(value, date) else value
            for key, value in dataclasses.asdict(self).items()
            if value is not None or key not in ("id", "statement_file")
        }

    def _check(self, *, where: object) -> None:
        for name in ("who", "purpose"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ConsentError(f"The consent record's field '{name}' must say something", where=where)
        for name in ("audio_sha256", "statement_sha256"):
            value = getattr(self, name)
            if value is not None and not _is_sha256(value):
                raise ConsentError(f"The consent record's field '{name}' is not a SHA-256", where=where, hint=NEW_HINT)
        for name in ("id", "statement_file"):
            if not isinstance(getattr(self, name), str | None):
                raise ConsentError(f"The consent record's field '{name}' is not a text", where=where)
        for name, most in MAX_CHARACTERS.items():
            value = getattr(self, name) or ""
            if len(value) > most or any(unicodedata.category(letter) in UNWRITABLE for letter in value):
                raise ConsentError(
                    f"The consent record's field '{name}' is too long, or no plain line of text",
                    where=where,
                    allowed=f"at most {most} characters, no control characters",
                )
        if self.expires < self.granted:
            raise ConsentError(
                f"The consent would expire on {self.expires}, before {self.granted}, when it is given",
                where=where,
                hint=f"choose {self.granted} or a later day for the last one",
            )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConsentError("No such consent record", where=path, hint=NEW_HINT)
    if path.stat().st_size > MAX_BYTES:
        raise ConsentError("The file is too large for a consent record", where=path, allowed=f"{MAX_BYTES:,} bytes")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConsentError(f"The consent record cannot be read ({error.strerror})", where=path) from error
    except (ValueError, RecursionError) as error:
        raise ConsentError("The consent record is not JSON", where=path, hint=NEW_HINT) from error
    if not isinstance(values, dict):
        raise ConsentError("The consent record is not a JSON object", where=path, hint=NEW_HINT)
    return values


def _parse_date(value: Any, name: str, where: object) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ConsentError(f"'{name}' is {value!r}, not a date", where=where, allowed="YYYY-MM-DD") from None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and all(digit in "0123456789abcdef" for digit in value)
