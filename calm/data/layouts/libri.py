"""LibriSpeech and LibriTTS: folders of readers and chapters from LibriVox."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from calm.data.layouts.base import Layout, LeftOut, ManifestEntry, read_text
from calm.types import Task

__all__ = ["LIBRISPEECH", "LIBRITTS"]

SPEECH_ENDING, TTS_ENDING = ".trans.txt", ".normalized.txt"
SPEAKER_TABLES = ("SPEAKERS.txt", "SPEAKERS.TXT", "speakers.tsv")
GENDERS = {"F": "female", "M": "male"}


def read_librispeech(root: Path) -> Iterator[ManifestEntry | LeftOut]:
    """Yield the clips of ``[SPLIT/]READER/CHAPTER/READER-CHAPTER.trans.txt`` and the FLAC files beside it.

    The transcripts are published in capitals, which say nothing, and become sentence case.
    """
    genders = _genders(root)
    for table in _files(root, SPEECH_ENDING):
        for number, line in enumerate(read_text(table).split("\n"), start=1):
            key, _, text = line.strip().partition(" ")
            if key:
                where = f"{table}:{number}"
                yield _entry(root, table.parent / f"{key}.flac", _sentence_case(text), where=where, genders=genders)


def read_libritts(root: Path) -> Iterator[ManifestEntry | LeftOut]:
    """Yield the clips of ``[SPLIT/]READER/CHAPTER/KEY.normalized.txt``, ``KEY.wav`` beside it; LibriTTS-R alike.

    Audio without a transcript is listed as well.
    """
    genders = _genders(root)
    for chapter in dict.fromkeys(path.parent for path in _files(root, TTS_ENDING)):
        keys = {path.name.removesuffix(ending) for ending in (TTS_ENDING, ".wav") for path in chapter.glob(f"*{ending}")}
        for key in sorted(keys):
            text, clip = chapter / f"{key}{TTS_ENDING}", chapter / f"{key}.wav"
            if text.is_file():
                yield _entry(root, clip, " ".join(read_text(text).split()), where=f"{text}:1", genders=genders)
            else:
                yield LeftOut(file=_name(root, clip), where=str(clip), reason=f"{text.name} is missing")


def _entry(
    root: Path, path: Path, text: str, *, where: str, genders: dict[str, str]
) -> ManifestEntry | LeftOut:
    if not path.is_file():
        return LeftOut(file=_name(root, path), where=where, reason="the audio file is missing")
    reader, splits = path.parent.parent.name, path.relative_to(root).parts[:-3]
    return ManifestEntry(
        path=path,
        name=_name(root, path),
        task=Task.SPEECH,
        text=text,
        where=where,
        # Both sets number the readers of LibriVox: the same number is the same voice.
        speaker=f"librivox-{reader}",
        language="en",
        attributes={"gender": genders[reader]} if reader in genders else {},
        split=splits[-1] if splits else "",
    )


def _files(root: Path, ending: str) -> Iterator[Path]:
    for depth in ("*/*", "*/*/*"):
        yield from sorted(root.glob(f"{depth}/*{ending}"))


def _has(ending: str):
    return lambda root: root.is_dir() and any(next(root.glob(f"{d}/*{ending}"), None) for d in ("*/*", "*/*/*"))


def _genders(root: Path) -> dict[str, str]:
    """Return the reader's gender by number, from the table of readers in the folder or the one above; {} without one."""
    table = next((f / name for f in (root, root.resolve().parent) for name in SPEAKER_TABLES if (f / name).is_file()), None)
    rows = [] if table is None else [re.split(r"\s*[|\t]\s*", line.strip()) for line in read_text(table).split("\n")]
    return {row[0]: GENDERS[row[1]] for row in rows if len(row) > 1 and row[1] in GENDERS}


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _sentence_case(text: str) -> str:
    return re.sub(r"\bi\b", "I", " ".join(text.split()).capitalize())


LIBRISPEECH = Layout(
    name="librispeech",
    task=Task.SPEECH,
    tree="[SPLIT/]READER/CHAPTER/READER-CHAPTER.trans.txt and the .flac files of its lines",
    recognises=_has(SPEECH_ENDING),
    read=read_librispeech,
)
LIBRITTS = Layout(
    name="libritts",
    task=Task.SPEECH,
    tree="[SPLIT/]READER/CHAPTER/KEY.normalized.txt and KEY.wav",
    recognises=_has(TTS_ENDING),
    read=read_libritts,
)
