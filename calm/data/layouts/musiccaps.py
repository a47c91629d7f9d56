"""MusicCaps: captions and aspects of ten seconds of music from videos."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from calm.data.layouts.base import AudioFiles, Layout, LeftOut, ManifestEntry, find_tables, read_table
from calm.types import Task

__all__ = ["MUSICCAPS"]

COLUMNS = ("ytid", "start_s", "end_s", "caption")


def read_musiccaps(source: Path) -> Iterator[ManifestEntry | LeftOut]:
    """Yield the clips of a table ``ytid,start_s,end_s,...,aspect_list,caption,...,is_audioset_eval``.

    The set is published without audio. Files may be named ``ID``, ``ID_START_END``, ``ID_START``,
    ``[ID]-[START-END]`` or ``YID``. The aspects are a further wording, as people type tags, and an attribute.
    ``is_audioset_eval`` decides the split: eval or train; audio may lie in one folder for both.
    """
    audio = AudioFiles(source if source.is_dir() else source.parent)
    for table in find_tables(source, COLUMNS):
        for line, row in read_table(table):
            video, start, end = (row.get(column, "") for column in COLUMNS[:3])
            stems = (video, f"{video}_{start}_{end}", f"{video}_{start}", f"[{video}]-[{start}-{end}]", f"Y{video}")
            aspects = _list(row.get("aspect_list", ""))
            evaluated = row.get("is_audioset_eval")
            yield audio.entry(
                *stems,
                split="" if evaluated is None else "eval" if evaluated.lower() == "true" else "train",
                where=f"{table}:{line}",
                task=Task.MUSIC,
                text=row.get("caption", ""),
                wordings=(", ".join(aspects),) if aspects else (),
                attributes={"youtube_id": video, **({"aspects": aspects} if aspects else {})},
            )


def _list(written: str) -> list[str]:
    """Read ``['a', 'b']`` as Python writes it; anything else gives no aspects."""
    try:
        value = ast.literal_eval(written)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    return [str(item).strip() for item in value if str(item).strip()] if isinstance(value, list) else []


MUSICCAPS = Layout(
    name="musiccaps",
    task=Task.MUSIC,
    tree="a CSV with ytid,start_s,end_s,aspect_list,caption, and audio files named after ytid",
    recognises=lambda source: bool(find_tables(source, COLUMNS)),
    read=read_musiccaps,
)
