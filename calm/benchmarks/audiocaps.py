"""AudioCaps: captions of ten seconds of sound, by its own tables or by a published list of one caption a clip."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from calm.audio import info
from calm.benchmarks.base import Benchmark, Collected, SetCard, choose_caption, clean_id, rejections
from calm.data.importers import read_source
from calm.data.layouts import ManifestEntry
from calm.data.layouts.base import read_text
from calm.errors import ConfigError, DataError
from calm.evaluation.manifest import ManifestItem
from calm.metrics import Item
from calm.registry import register
from calm.types import Task

__all__ = ["AudioCaps"]


@register("benchmark", "audiocaps")
class AudioCaps(Benchmark):
    """AudioCaps' test table with the clips that are there, one caption each.

    Many clips are no longer public: those without audio are named, and the count of items belongs to every figure.
    With ``list_path``, clips and captions are those of a list in the form of Tango's ``test_audiocaps_subset.json``
    (one JSON object a line, ``location`` and ``captions``), which several papers use.
    """

    task = Task.SOUND
    card = SetCard(
        title="AudioCaps",
        url="https://github.com/cdjkim/audiocaps",
        citation="Kim et al., 2019, NAACL-HLT",
        licence="academic use (its readme); the audio belongs to the videos' owners",
    )

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["audiocaps"] = "audiocaps"
        folder: str = ""
        split: str = "test"
        list_path: str = ""
        caption: Literal["first", "drawn"] = "first"
        max_seconds: float = 10.0
        limit: int | None = None
        seed: int = 0

    def collect(self) -> Collected:
        config = self.config
        listing = read_source(config.folder, layout="audiocaps")
        entries = [entry for entry in listing.entries if entry.split in ("", config.split)]
        # The other tables of the set are no part of this list, whether their audio is there or not.
        is_table = Path(config.folder).is_file()
        left_out = [item for item in listing.left_out if is_table or _table(item.where) == config.split]
        found = Collected(rejected=rejections(left_out), notes={"list": f"{config.split}.csv", "caption": config.caption})
        if config.list_path:
            return self._listed(entries)
        for entry in entries:
            texts = (entry.text, *entry.wordings)
            text = choose_caption(texts, rule=config.caption, seed=config.seed, key=_key(entry))
            found.add(_key(entry), (entry, text))
        return found

    def item(self, id: str, candidate: Any, out: Path) -> ManifestItem:
        entry, text = candidate
        seconds = min(info(entry.path).seconds, self.config.max_seconds)
        return ManifestItem(item=Item(id=id, task=Task.SOUND, text=text, seconds=seconds), target=entry.path)

    def _listed(self, entries: list[ManifestEntry]) -> Collected:
        path = Path(self.config.list_path)
        if not path.is_file():
            hint = "it is data/test_audiocaps_subset.json of declare-lab/tango"
            raise ConfigError("No such list", where=path, hint=hint)
        found = Collected(notes={"list": path.name, "caption": "of the list"})
        known = {_key(entry): entry for entry in entries}
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                stem, text = PurePosixPath(row["location"]).stem, row["captions"]
            except (ValueError, KeyError, TypeError, RecursionError):
                raise DataError("The line has no location and captions", where=f"{path}:{number}") from None
            id = clean_id(stem, prefix="Y")
            if id not in known:
                found.rejected.append(f"{id}: its audio is not there")
            elif not isinstance(text, str) or not text.strip():
                found.rejected.append(f"{id}: it has no caption")
            else:
                found.add(id, (known[id], text))
        return found


def _key(entry: ManifestEntry) -> str:
    """AudioSet's way of naming a clip; a file must not begin with a hyphen, as some videos do."""
    return clean_id(f"{entry.attributes['youtube_id']}_{entry.attributes['start_time']}", prefix="Y")


def _table(where: str) -> str:
    """The name of the table in ``FILE:LINE``."""
    return Path(where.rpartition(":")[0]).stem
