"""What a layout is, and the few tools that all layouts share: tables, audio files by name, captions put together."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from calm.errors import DataError
from calm.types import Task

__all__ = [
    "AudioFiles",
    "Layout",
    "LeftOut",
    "ManifestEntry",
    "find_tables",
    "join_captions",
    "read_table",
    "read_text",
]

#: endings of what libsndfile reads; anything else beside the audio is not looked at
AUDIO_SUFFIXES = (".flac", ".wav", ".mp3", ".ogg", ".opus", ".aiff", ".aif")
#: folders, relative to the one that is given, in which published sets keep their tables
TABLE_FOLDERS = (".", "dataset")


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One clip that a source lists. ``where`` is ``file:line``; ``name`` is the path as the source gives it.

    ``wordings`` are further captions of the clip; ``split`` is the source's own, "" where it has none.
    """

    path: Path
    name: str
    task: Task
    text: str
    where: str
    speaker: str | None = None
    language: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    wordings: tuple[str, ...] = ()
    split: str = ""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A clip that a source lists and that cannot be used: its file, the line that names it, and the reason."""

    file: str
    where: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one public set lies on the disk.

    ``tree`` shows it to a person; ``recognises`` looks at a folder (or at a table) without reading much;
    ``read`` yields every clip that the set names, used or not, in a fixed order.
    """

    name: str
    task: Task
    tree: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], Iterator[ManifestEntry | LeftOut]]


class AudioFiles:
    """The audio files below a folder, found by stem (the name without its last ending), however deep they lie."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_stem: dict[str, list[Path]] = {}
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() in AUDIO_SUFFIXES:
                self._by_stem.setdefault(path.stem, []).append(path)
        self._folders = {
            part for paths in self._by_stem.values() for path in paths for part in path.relative_to(root).parts[:-1]
        }

    def find(self, *stems: str, split: str = "") -> Path | None:
        """Return the first file with one of ``stems``, or None.

        Where there are folders named after the split (``train``, ``clotho_audio_train``), only those count:
        two splits may use one name.
        """
        of_split = {folder for folder in self._folders if split and split in folder}
        for stem in stems:
            for path in self._by_stem.get(stem, ()):
                if not of_split or of_split & set(path.relative_to(self.root).parts[:-1]):
                    return path
        return None

    def entry(self, *stems: str, split: str = "", where: str, **further: Any) -> ManifestEntry | LeftOut:
        """Return the entry of the first file that ``find`` gives, or what is missing."""
        path = self.find(*stems, split=split)
        if path is None:
            return LeftOut(file=stems[0], where=where, reason=f"no audio file is named {' or '.join(stems)}")
        name = path.relative_to(self.root).as_posix()
        return ManifestEntry(path=path, name=name, split=split, where=where, **further)


def find_tables(source: Path, columns: Iterable[str]) -> list[Path]:
    """Return the CSV files of a folder (or the one that is given) whose header has all ``columns``."""
    if source.is_file():
        files = [source] if source.suffix == ".csv" else []
    else:
        files = [path for folder in TABLE_FOLDERS for path in sorted((source / folder).glob("*.csv"))]
    return [file for file in files if set(columns) <= set(_header(file))]


def read_table(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, row) of a CSV with a header, separated by ``,`` or ``|``; empty cells are left out of a row.

    Raises DataError with ``file:line`` for a row of another width, or what is no CSV.
    """
    text = read_text(table)
    header = text.split("\n", 1)[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="|" if "|" in header else ",")
    try:
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    "The row has more or fewer cells than the header",
                    where=f"{table}:{reader.line_num}",
                    allowed=f"{len(reader.fieldnames or ())} cells: {', '.join(reader.fieldnames or ())}",
                    hint="quote cells that hold the delimiter",
                )
            yield reader.line_num, {key.strip(): value.strip() for key, value in row.items() if value.strip()}
    except csv.Error as error:
        raise DataError(f"The CSV cannot be read ({error})", where=f"{table}:{reader.line_num}") from error


def read_text(path: Path) -> str:
    """Return a text file's content; raises DataError where it is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The manifest cannot be read ({error})", where=path, allowed="UTF-8 text") from error


def join_captions(found: Iterable[ManifestEntry | LeftOut]) -> Iterator[ManifestEntry | LeftOut]:
    """Make one entry of all that name the same file: the first caption stays, the others become wordings."""
    entries: dict[Path, ManifestEntry] = {}
    for item in found:
        if isinstance(item, LeftOut):
            yield item
        elif (first := entries.get(item.path)) is None:
            entries[item.path] = item
        else:
            known = (first.text, *first.wordings)
            new = dict.fromkeys(text for text in (item.text, *item.wordings) if text not in known)
            entries[item.path] = replace(first, wordings=(*first.wordings, *new))
    yield from entries.values()


def _header(table: Path) -> list[str]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            return [cell.strip() for cell in next(csv.reader(file), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
