"""The Song Describer Dataset: captions of two minutes of music."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from calm.audio import info
from calm.benchmarks.base import Benchmark, Collected, SetCard, choose_caption, clean_id, rejections
from calm.data.importers import read_source
from calm.evaluation.manifest import ManifestItem
from calm.metrics import Item
from calm.registry import register
from calm.types import Task

__all__ = ["SongDescriber"]


@register("benchmark", "song_describer")
class SongDescriber(Benchmark):
    """The Song Describer Dataset, one caption a track, those of the validated subset first.

    ``seconds`` is the length that is asked for; the original recordings stay whole (about two minutes), so that a
    distance between sets looks at all of them.
    """

    task = Task.MUSIC
    card = SetCard(
        title="The Song Describer Dataset",
        url="https://github.com/mulab-mir/song-describer-dataset",
        citation="Manco et al., 2023, arXiv 2311.10057",
        licence="captions: see its Zenodo record; audio: Creative Commons by track (audio_licenses.txt)",
    )

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["song_describer"] = "song_describer"
        folder: str = ""
        split: str = ""
        caption: Literal["first", "drawn"] = "first"
        seconds: float = 30.0
        limit: int | None = None
        seed: int = 0

    def collect(self) -> Collected:
        config = self.config
        listing = read_source(config.folder, layout="song_describer")
        found = Collected(
            rejected=rejections(listing.left_out),
            notes={"list": "song_describer.csv", "caption": config.caption, "seconds": config.seconds},
        )
        for entry in listing.entries:
            id = clean_id(str(entry.attributes.get("track_id") or entry.path.stem))
            texts = (entry.text, *entry.wordings)
            text = choose_caption(texts, rule=config.caption, seed=config.seed, key=id)
            found.add(id, (entry.path, text))
        return found

    def item(self, id: str, candidate: Any, out: Path) -> ManifestItem:
        path, text = candidate
        info(path)  # a file that is damaged is one clear reason
        return ManifestItem(item=Item(id=id, task=Task.MUSIC, text=text, seconds=self.config.seconds), target=path)
