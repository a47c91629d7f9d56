"""The Song Describer Dataset: captions of two minutes of music from MTG-Jamendo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from calm.data.layouts.base import AudioFiles, Layout, LeftOut, ManifestEntry, find_tables, join_captions, read_table
from calm.types import Task

__all__ = ["SONG_DESCRIBER"]

COLUMNS = ("track_id", "caption", "path")


def read_song_describer(source: Path) -> Iterator[ManifestEntry | LeftOut]:
    """Yield the tracks of ``song_describer.csv``; ``path`` 00/1.mp3 is the file ``audio/00/1.2min.mp3``.

    A track's captions are put together, those of the validated subset first.
    """
    audio = AudioFiles(source if source.is_dir() else source.parent)
    for table in find_tables(source, COLUMNS):
        rows = sorted(read_table(table), key=lambda item: item[1].get("is_valid_subset", "True").lower() != "true")
        yield from join_captions(_entry(row, audio, where=f"{table}:{line}") for line, row in rows)


def _entry(row: dict[str, str], audio: AudioFiles, *, where: str) -> ManifestEntry | LeftOut:
    stem = PurePosixPath(row.get("path", row.get("track_id", ""))).stem
    ids = {name: row[name] for name in ("track_id", "artist_id", "album_id") if name in row}
    stems = (f"{stem}.2min", stem)
    return audio.entry(*stems, where=where, task=Task.MUSIC, text=row.get("caption", ""), attributes=ids)


SONG_DESCRIBER = Layout(
    name="song_describer",
    task=Task.MUSIC,
    tree="song_describer.csv with caption_id,track_id,caption,...,path, and audio/NN/TRACK.2min.mp3",
    recognises=lambda source: bool(find_tables(source, COLUMNS)),
    read=read_song_describer,
)
