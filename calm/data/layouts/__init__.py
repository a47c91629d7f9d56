"""Layouts of public sets. A new one is a file with a ``Layout``, and its name in the table below."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from calm.data.layouts.audiocaps import AUDIOCAPS
from calm.data.layouts.base import Layout, LeftOut, ManifestEntry
from calm.data.layouts.clotho import CLOTHO
from calm.data.layouts.libri import LIBRISPEECH, LIBRITTS
from calm.data.layouts.ljspeech import LJSPEECH
from calm.data.layouts.musiccaps import MUSICCAPS
from calm.data.layouts.song_describer import SONG_DESCRIBER
from calm.errors import DataError
from calm.types import Task

__all__ = ["LAYOUTS", "Layout", "LeftOut", "ManifestEntry", "read_layout", "recognise"]

_ALL = (LIBRITTS, LIBRISPEECH, LJSPEECH, AUDIOCAPS, CLOTHO, SONG_DESCRIBER, MUSICCAPS)
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in _ALL}


def recognise(source: Path) -> Layout | None:
    """Return the layout of a folder or table, or None. Raises DataError where it looks like several."""
    found = [layout for layout in LAYOUTS.values() if layout.recognises(source)]
    if len(found) > 1:
        names = ", ".join(layout.name for layout in found)
        raise DataError("The folder looks like several sets", where=source, allowed=names, hint="choose with --layout")
    return found[0] if found else None


def read_layout(layout: Layout, source: Path, *, outside: str = "refuse") -> Iterator[ManifestEntry | LeftOut]:
    """Yield every clip of ``source``; links out of it and clips without words come as ``LeftOut``.

    Raises DataError where the folder does not lie as ``layout`` does, or a table cannot be read.
    """
    if not layout.recognises(source):
        raise DataError(f"The folder does not lie as {layout.name} is published", where=source, allowed=layout.tree)
    root = (source if source.is_dir() else source.parent).resolve()
    for item in layout.read(source):
        reason = None
        if isinstance(item, ManifestEntry):
            if outside == "refuse" and not item.path.resolve().is_relative_to(root):
                reason = "the audio file is a link out of the folder"
            elif not item.text.strip():
                reason = "there is no text"
            elif item.task is Task.SPEECH and not any(character.isalnum() for character in item.text):
                reason = f"the transcript {item.text!r} has no letter and no digit"
        yield item if reason is None else LeftOut(file=item.name, where=item.where, reason=reason)
