"""Voices by name: described ones, and recorded ones with the speaker's consent, kept as files.

    HOME/voices/voice_0123456789abcdef0123456789abcdef/
        voice.json       id, name, when it was registered
        clip.wav         the recording, byte for byte as it was sent (or .flac, .ogg, .mp3)
        consent.json     the consent record, as `calm consent show` reads it
        statement.wav    the recorded statement of consent, where there is one

A folder takes its name when all of it is on the disk. The name is made here; nothing of a request becomes a path.
Nobody but the server's user may read them: recordings of people are looked after as keys are.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from calm.audio import write_bytes
from calm.errors import CalmError, ConsentError, InputError, did_you_mean
from calm.generation import VoiceReference
from calm.safety import Consent
from calm.serving.uploads import read_clip, suffix_of

__all__ = ["DESCRIBED", "MAX_NAME", "RecordedVoice", "UnknownVoice", "VoiceStore"]

#: names that clients of OpenAI's know -> words for a voice
DESCRIBED: dict[str, str] = {
    "alloy": "a female voice",
    "ash": "a male voice",
    "ballad": "a male voice with a British accent",
    "cedar": "a low-pitched male voice with a British accent",
    "coral": "a high-pitched female voice",
    "echo": "a high-pitched male voice",
    "fable": "a female voice with a British accent",
    "marin": "a female voice with an American accent",
    "nova": "a high-pitched female voice with an American accent",
    "onyx": "a low-pitched male voice",
    "sage": "a low-pitched female voice",
    "shimmer": "a high-pitched female voice with a British accent",
    "verse": "a male voice with an American accent",
}
ID = re.compile(r"voice_[0-9a-f]{32}", re.ASCII)
MAX_NAME = 64
NAME = re.compile(rf"[\w][\w .'-]{{0,{MAX_NAME - 1}}}")
#: a folder that nobody has written to for so long is no registration under way, perhaps of another process
STALE_SECONDS = 60.0


class UnknownVoice(InputError):
    """A voice that is neither described nor registered."""


@dataclass(frozen=True, kw_only=True)
class RecordedVoice:
    """A registered voice's folder. Its files are read anew at every use: what was taken back there counts at once."""

    folder: Path
    id: str
    name: str
    created_at: int

    @property
    def consent(self) -> Consent:
        """Raises ConsentError where the record is missing, damaged or was changed."""
        try:
            return Consent.load(self.folder / "consent.json")
        except ConsentError as error:
            raise ConsentError(f"Voice '{self.name}': {error.what}", hint=error.hint) from None

    def reference(self, *, max_seconds: float, text: str | None, purpose: str | None) -> VoiceReference:
        """The voice to speak with. Raises ConsentError where its consent does not hold today for this clip and purpose."""
        consent = self.consent
        clips = sorted(self.folder.glob("clip.*"))
        try:
            if not clips:
                raise InputError("its clip is gone")
            waveform = read_clip(clips[0].read_bytes(), max_seconds=max_seconds, param="voice")
        except (OSError, InputError) as error:
            reason = getattr(error, "what", None) or "its clip cannot be read"
            raise ConsentError(f"Voice '{self.name}' cannot be used: {reason}", hint="register it again") from None
        return VoiceReference(waveform=waveform, consent=consent, text=text, purpose=purpose)


class VoiceStore:
    """The voices of one server. Safe among threads; processes that share the folder see each other's voices.

    Args:
        home: the server's folder.
        max_seconds: of a clip or a statement.
        max_voices: registered voices.
    """

    def __init__(self, home: Path, *, max_seconds: float, max_voices: int) -> None:
        self._folder = home / "voices"
        self.max_seconds, self._max_voices = max_seconds, max_voices
        self._lock = threading.Lock()
        self._sweep()

    def list(self) -> list[RecordedVoice]:
        """All registered voices, oldest first; folders that are no voices are passed over."""
        found = [self._load(path) for path in self._folder.glob("voice_*")] if self._folder.is_dir() else []
        return sorted((voice for voice in found if voice is not None), key=lambda voice: (voice.created_at, voice.id))

    def find(self, name_or_id: str) -> RecordedVoice | None:
        """The registered voice of this id, or of this name.

        A name with spaces is found by id only: as a request's voice it is a description, and nobody's to take.
        """
        if ID.fullmatch(name_or_id):
            return self._load(self._folder / name_or_id)
        if " " in name_or_id:
            return None
        wanted = name_or_id.casefold()
        return next((voice for voice in self.list() if voice.name.casefold() == wanted), None)

    def add(
        self, name: str, clip: bytes, *, who: str, purpose: str, expires: date, statement: bytes | None = None
    ) -> RecordedVoice:
        """Register a voice, whole or not at all.

        Raises InputError for a name that cannot be had or a clip that cannot be used, ConsentError for fields of the
        consent that say nothing.
        """
        name = self._checked_name(name)
        waveform = read_clip(clip, max_seconds=self.max_seconds, param="clip")
        said = None if statement is None else read_clip(statement, max_seconds=self.max_seconds, param="statement")
        if expires < date.today():
            raise InputError(f"The consent would have expired on {expires}", where="expires", allowed="today or later")
        files = {f"clip.{suffix_of(clip, param='clip')}": clip}
        if statement is not None:
            files[f"statement.{suffix_of(statement, param='statement')}"] = statement
        consent = Consent.new(waveform, who=who, purpose=purpose, expires=expires, statement=said)
        with self._lock:
            return self._write(name, files, consent)

    def remove(self, voice: RecordedVoice) -> None:
        """Delete a voice with its clip and consent. It is gone in one step; files are removed after."""
        hidden = self._folder / f".deleted.{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(voice.folder, hidden)
        shutil.rmtree(hidden, ignore_errors=True)

    def _write(self, name: str, files: dict[str, bytes], consent: Consent) -> RecordedVoice:
        present = self.list()
        if any(voice.name.casefold() == name.casefold() for voice in present):
            raise InputError(f"There is a voice '{name}' already", where="name", hint="choose another name, or delete it")
        if len(present) >= self._max_voices:
            raise InputError(f"There are {len(present)} voices already", where="name", allowed=f"{self._max_voices}")
        id, moment = f"voice_{uuid.uuid4().hex}", int(time.time())
        temporary = self._folder / f".new.{id}"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            temporary.mkdir(mode=0o700)
            for file, data in files.items():
                write_bytes(temporary / file, data)
            consent.save(temporary / "consent.json")
            about = {"id": id, "name": name, "created_at": moment}
            write_bytes(temporary / "voice.json", (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode())
            for path in temporary.iterdir():
                path.chmod(0o600)
            os.rename(temporary, self._folder / id)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return RecordedVoice(folder=self._folder / id, id=id, name=name, created_at=moment)

    def _sweep(self) -> None:
        """Remove what a killed process left half-made or half-deleted."""
        for path in (*self._folder.glob(".new.*"), *self._folder.glob(".deleted.*")):
            with contextlib.suppress(FileNotFoundError):
                if path.name.startswith(".deleted.") or time.time() - path.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)

    def _checked_name(self, name: str) -> str:
        name = " ".join(name.split())
        if not NAME.fullmatch(name) or ID.fullmatch(name):
            raise InputError("The voice's name is not accepted", where="name", allowed=f"1 to {MAX_NAME} letters, digits, spaces, . ' -")
        if name.casefold() in DESCRIBED:
            raise InputError(f"'{name}' is a described voice", where="name", hint="choose another name")
        return name

    def _load(self, folder: Path) -> RecordedVoice | None:
        try:
            about = json.loads((folder / "voice.json").read_text(encoding="utf-8"))
            return RecordedVoice(
                folder=folder, id=folder.name, name=str(about["name"]), created_at=int(about["created_at"])
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


def described(name: str) -> str | None:
    """The words behind a described voice's name; words of the caller's own are taken as they are."""
    words = DESCRIBED.get(name.casefold())
    return words if words is not None else name if " " in name.strip() else None


def unknown(name: str, store: VoiceStore) -> UnknownVoice:
    """The error for a voice that nobody knows."""
    known = [*DESCRIBED, *(voice.name for voice in store.list())]
    guess = did_you_mean(name, known) or ""
    return UnknownVoice(
        f"There is no voice '{name[:80]}'. {guess}".strip(), where="voice", allowed="a name of GET /v1/audio/voices, or a few words"
    )


def holds_today(voice: RecordedVoice) -> bool:
    """Whether the voice's consent holds today, as far as its record says."""
    try:
        voice.consent.check_day(date.today())
    except CalmError:
        return False
    return True
