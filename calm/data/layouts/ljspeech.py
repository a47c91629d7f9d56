"""LJSpeech: one reader, a table without a header."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from calm.data.layouts.base import Layout, LeftOut, ManifestEntry, read_text
from calm.types import Task

__all__ = ["LJSPEECH"]

TABLE, FOLDER = "metadata.csv", "wavs"


def read_ljspeech(root: Path) -> Iterator[ManifestEntry | LeftOut]:
    """Yield the clips of ``metadata.csv``: ``KEY|transcript|normalised transcript``, with ``wavs/KEY.wav``.

    The normalised transcript is taken where there is one. Quotes are part of the text: the table is no CSV with
    quoting. The speaker is named after the folder, because other sets of one speaker lie in the same way.
    """
    table = root / TABLE
    for number, line in enumerate(read_text(table).split("\n"), start=1):
        cells = [cell.strip() for cell in line.split("|")]
        if not any(cells):
            continue
        where = f"{table}:{number}"
        path = root / FOLDER / f"{cells[0]}.wav"
        name = f"{FOLDER}/{cells[0]}.wav"
        if len(cells) not in (2, 3) or Path(cells[0]).name != cells[0]:
            yield LeftOut(file=name, where=where, reason="the line is not KEY|transcript|normalised transcript")
        elif not path.is_file():
            yield LeftOut(file=name, where=where, reason="the audio file is missing")
        else:
            text = cells[-1] or cells[1]
            speaker = root.resolve().name
            yield ManifestEntry(path=path, name=name, task=Task.SPEECH, text=text, where=where, speaker=speaker)


def _recognises(root: Path) -> bool:
    if not (root / FOLDER).is_dir() or not (root / TABLE).is_file():
        return False
    with (root / TABLE).open(encoding="utf-8-sig", errors="replace") as file:
        cells = file.readline().split("|")
    # A header would name the columns, as in a manifest of one's own.
    return len(cells) in (2, 3) and not {"file_name", "audio_file", "audio", "path", "text"} & {c.strip() for c in cells}


LJSPEECH = Layout(
    name="ljspeech",
    task=Task.SPEECH,
    tree="metadata.csv with KEY|transcript|normalised transcript, no header, and wavs/KEY.wav",
    recognises=_recognises,
    read=read_ljspeech,
)
