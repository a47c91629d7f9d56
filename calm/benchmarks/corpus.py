"""The held-out lists of the corpus that `calm corpus` makes: speech in held-out voices, sound and music."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from calm.benchmarks.base import Benchmark, Collected, SetCard, clean_id
from calm.benchmarks.voices import PromptRule, write_prompt
from calm.errors import DataError
from calm.evaluation.choose import GRAMMAR
from calm.evaluation.lists import ClipItem, SpeechItem, load_clips, make_speech_list
from calm.evaluation.manifest import ManifestItem
from calm.metrics import Item
from calm.registry import register
from calm.types import Task

__all__ = ["Corpus"]


@register("benchmark", "corpus")
class Corpus(Benchmark):
    """Held-out lists of the corpus of `calm corpus`: speech in reference voices, sound and music.

    Figures are developed on ``validation`` and reported on ``test``. The speech list is that of
    `calm.evaluation.lists`, of any length; prompts are clips of the same voice, joined.
    """

    card = SetCard(
        title="Generated corpus, held out",
        url="made on the spot by `calm corpus`",
        citation="this project",
        licence="synthetic; see the corpus's card",
    )

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["corpus"] = "corpus"
        folder: str = ""
        split: str = "test"
        task: Literal["all", "speech", "sound", "music"] = "all"
        prompt: PromptRule = "cut"
        prompt_seconds: float = 3.0
        limit: int | None = None
        seed: int = 0

    def collect(self) -> Collected:
        config = self.config
        clips = load_clips(config.folder, split=config.split)
        wanted = [task for task in Task if config.task in ("all", str(task))]
        found = Collected(
            notes={
                "list": "calm.evaluation.lists.make_speech_list and all sound and music",
                "task": config.task,
                "prompt": f"clips of the same voice, {config.prompt_seconds:g} s, {config.prompt}",
                # The rules of the grammar are known: `wer` is recognised with them and the list's own words.
                "language_model": GRAMMAR,
            }
        )
        speech = [clip for clip in clips if clip.task is Task.SPEECH]
        if Task.SPEECH in wanted and speech:
            listed = make_speech_list(config.folder, split=config.split, size=len(speech), seed=config.seed)
            for item in listed:
                found.add(clean_id(item.target.key), item)
            with_reference = {item.target.path for item in listed}
            lonely = [clip for clip in speech if clip.path not in with_reference]
            found.rejected.extend(f"{clip.key}: its voice has no other clips of 3 s" for clip in lonely)
        for clip in clips:
            if clip.task in wanted and clip.task is not Task.SPEECH:
                found.add(clean_id(clip.key), clip)
        return found

    def task_of(self, candidate: Any) -> Task:
        return Task.SPEECH if isinstance(candidate, SpeechItem) else candidate.task

    def item(self, id: str, candidate: Any, out: Path) -> ManifestItem:
        if isinstance(candidate, SpeechItem):
            return self._speech(id, candidate, out)
        _present(candidate)
        labels = candidate.attributes.get("tags") or []
        item = Item(
            id=id,
            task=candidate.task,
            text=candidate.text,
            seconds=candidate.seconds,
            labels=tuple(str(label) for label in labels),
        )
        return ManifestItem(item=item, target=candidate.path)

    def _speech(self, id: str, listed: SpeechItem, out: Path) -> ManifestItem:
        config, target = self.config, listed.target
        _present(target)
        path = out / "prompts" / f"{id}.wav"
        prompt = write_prompt(listed.reference, path, seconds=config.prompt_seconds, rule=config.prompt)
        item = Item(
            id=id,
            task=Task.SPEECH,
            text=target.text,
            reference_text=prompt.text,
            seconds=target.seconds,
            labels=(target.voice,),
        )
        return ManifestItem(item=item, reference=prompt.path, target=target.path)


def _present(clip: ClipItem) -> None:
    if not clip.path.is_file():
        raise DataError("the audio file is missing")
