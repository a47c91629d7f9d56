"""Clotho: five captions of every recording, in one row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from calm.data.layouts.base import AudioFiles, Layout, LeftOut, ManifestEntry, find_tables, read_table
from calm.types import Task

__all__ = ["CLOTHO"]

PREFIX = "clotho_captions_"
COLUMNS = ("file_name", "caption_1")


def read_clotho(source: Path) -> Iterator[ManifestEntry | LeftOut]:
    """Yield the clips of ``clotho_captions_SPLIT.csv``; the audio lies in a folder named after the split.

    ``caption_1`` is the caption, the others are further wordings of it.
    """
    audio = AudioFiles(source if source.is_dir() else source.parent)
    for table in find_tables(source, COLUMNS):
        split = table.stem.removeprefix(PREFIX)
        for line, row in read_table(table):
            captions = [text for column, text in row.items() if column.startswith("caption_")]
            name = row.get("file_name", "")
            yield audio.entry(
                name.removesuffix(Path(name).suffix),
                split=split,
                where=f"{table}:{line}",
                task=Task.SOUND,
                text=captions[0] if captions else "",
                wordings=tuple(captions[1:]),
            )


CLOTHO = Layout(
    name="clotho",
    task=Task.SOUND,
    tree="clotho_captions_SPLIT.csv with file_name,caption_1,...,caption_5, and a folder of audio for each split",
    recognises=lambda source: bool(find_tables(source, COLUMNS)),
    read=read_clotho,
)
