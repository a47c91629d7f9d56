"""A folder of one's own recordings: AudioFolder with ``metadata.jsonl``, speech, sound and music together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from calm.audio import info
from calm.benchmarks.base import Benchmark, Collected, SetCard, clean_id
from calm.benchmarks.voices import PromptRule, Voices
from calm.data.importers import read_source
from calm.errors import DataError
from calm.evaluation.lists import ClipItem
from calm.evaluation.manifest import ManifestItem
from calm.metrics import Item
from calm.registry import register
from calm.types import Task

__all__ = ["Real"]


@register("benchmark", "real")
class Real(Benchmark):
    """A folder of real recordings with metadata.jsonl; prompts are other clips of the same speaker.

    Speech without a speaker, or of one with too few other clips, is rejected: it has no reference.
    """

    card = SetCard(
        title="A folder of recordings",
        url="the folder's own",
        citation="the folder's own",
        licence="the folder's own",
    )

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["real"] = "real"
        folder: str = ""
        split: str = ""
        task: Literal["all", "speech", "sound", "music"] = "all"
        prompt: PromptRule = "cut"
        prompt_seconds: float = 3.0
        limit: int | None = None
        seed: int = 0

    def collect(self) -> Collected:
        config = self.config
        listing = read_source(config.folder, layout="audiofolder")
        entries = [entry for entry in listing.entries if not config.split or entry.split == config.split]
        clips = [
            ClipItem(
                path=entry.path,
                task=entry.task,
                text=entry.text,
                seconds=0.0,
                speaker=entry.speaker,
                attributes=entry.attributes,
            )
            for entry in entries
        ]
        speech = [clip for clip in clips if clip.task is Task.SPEECH]
        self._voices = Voices(speech, seed=config.seed, seconds=config.prompt_seconds, rule=config.prompt)
        rule = f"other clips of the same speaker, {config.prompt_seconds:g} s, {config.prompt}"
        found = Collected(notes={"list": "metadata of the folder", "task": config.task, "prompt": rule})
        for clip in clips:
            if config.task in ("all", str(clip.task)):
                found.add(clean_id(clip.key), clip)
        return found

    def task_of(self, candidate: Any) -> Task:
        return candidate.task

    def item(self, id: str, candidate: Any, out: Path) -> ManifestItem:
        clip: ClipItem = candidate
        seconds = info(clip.path).seconds
        if clip.task is not Task.SPEECH:
            return ManifestItem(item=Item(id=id, task=clip.task, text=clip.text, seconds=seconds), target=clip.path)
        if not clip.speaker:
            raise DataError("the speaker is not named, so there is no reference of the same voice")
        prompt = self._voices.prompt(clip, out / "prompts" / f"{id}.wav")
        item = Item(
            id=id,
            task=Task.SPEECH,
            text=clip.text,
            reference_text=prompt.text,
            seconds=seconds,
            labels=(clip.speaker,),
        )
        return ManifestItem(item=item, reference=prompt.path, target=clip.path)
