"""AudioCaps: captions of ten seconds from videos; up to five captions a clip in validation and test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from calm.data.layouts.base import AudioFiles, Layout, LeftOut, ManifestEntry, find_tables, join_captions, read_table
from calm.types import Task

__all__ = ["AUDIOCAPS"]

COLUMNS = ("youtube_id", "start_time", "caption")


def read_audiocaps(source: Path) -> Iterator[ManifestEntry | LeftOut]:
    """Yield the clips of ``[dataset/]train.csv``, ``val.csv``, ``test.csv``; a table's name is its split.

    The set is published without audio. Files may be named ``ID_START``, ``YID_START``, ``ID``, ``YID`` or by
    ``audiocap_id``, in any folder beside the tables.
    """
    audio = AudioFiles(source if source.is_dir() else source.parent)
    for table in find_tables(source, COLUMNS):
        yield from join_captions(_entries(table, audio, split=table.stem if source.is_dir() else ""))


def _entries(table: Path, audio: AudioFiles, *, split: str) -> Iterator[ManifestEntry | LeftOut]:
    for line, row in read_table(table):
        video, start = row.get("youtube_id", ""), row.get("start_time", "")
        stems = (f"{video}_{start}", f"Y{video}_{start}", video, f"Y{video}", row.get("audiocap_id", video))
        attributes = {"youtube_id": video, "start_time": start}
        text = row.get("caption", "")
        yield audio.entry(
            *stems, split=split, where=f"{table}:{line}", task=Task.SOUND, text=text, attributes=attributes
        )


AUDIOCAPS = Layout(
    name="audiocaps",
    task=Task.SOUND,
    tree="[dataset/]train.csv, val.csv, test.csv with audiocap_id,youtube_id,start_time,caption, and audio files",
    recognises=lambda source: bool(find_tables(source, COLUMNS)),
    read=read_audiocaps,
)
