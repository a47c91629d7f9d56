"""LibriTTS or LibriSpeech test-clean: each sentence in the voice of another utterance of the same reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from calm.audio import info
from calm.benchmarks.base import Benchmark, Collected, SetCard, clean_id, rejections
from calm.benchmarks.voices import Prompt, PromptRule, Voices
from calm.data.importers import read_source
from calm.data.layouts.base import ManifestEntry, read_text
from calm.errors import ConfigError, DataError
from calm.evaluation.lists import ClipItem
from calm.evaluation.manifest import ManifestItem
from calm.metrics import Item
from calm.registry import register
from calm.types import Task

__all__ = ["LibriTTS"]

LAYOUTS = ("libritts", "librispeech")
#: a line of LibriSpeech-PC's list: reference utterance, its seconds and words, then the same of the one to say
NUM_FIELDS = 6


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An utterance to say, with its reference where a list fixes it."""

    target: ClipItem
    prompt: Prompt | None = None


@register("benchmark", "libritts")
class LibriTTS(Benchmark):
    """LibriTTS or LibriSpeech test-clean, 3-s prompts of another utterance of the same reader.

    Without a list, utterances of 4 to 10 s are spoken (the range of VALL-E, arXiv 2301.02111), and the prompt is the
    beginning of a seeded draw of the reader's others. With ``list_path``, the pairs are those of F5-TTS's
    ``librispeech_pc_test_clean_cross_sentence.lst`` (tab-separated; read from its loader in ``utils_eval.py``): whole
    reference utterances with their words, and LibriSpeech's FLAC files.
    """

    task = Task.SPEECH
    card = SetCard(
        title="LibriTTS or LibriSpeech, test-clean",
        url="https://www.openslr.org/60/ and https://www.openslr.org/12/",
        citation="Zen et al., 2019, arXiv 1904.02882; Panayotov et al., 2015",
        licence="CC BY 4.0",
    )

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["libritts"] = "libritts"
        folder: str = ""
        split: str = "test-clean"
        list_path: str = ""
        prompt: PromptRule = "cut"
        prompt_seconds: float = 3.0
        min_seconds: float = 4.0
        max_seconds: float = 10.0
        limit: int | None = None
        seed: int = 0

    def collect(self) -> Collected:
        return self._listed() if self.config.list_path else self._drawn()

    def item(self, id: str, candidate: Any, out: Path) -> ManifestItem:
        target: ClipItem = candidate.target
        prompt = candidate.prompt or self._voices.prompt(target, out / "prompts" / f"{id}.wav")
        for path in (target.path, prompt.path):
            if not path.is_file():
                raise DataError(f"the audio file {path.name} is missing")
        item = Item(
            id=id,
            task=Task.SPEECH,
            text=target.text,
            reference_text=prompt.text,
            seconds=target.seconds or info(target.path).seconds,
            labels=(target.speaker or "",),
        )
        return ManifestItem(item=item, reference=prompt.path, target=target.path)

    def _root(self) -> Path:
        inner = Path(self.config.folder) / self.config.split
        return inner if inner.is_dir() else Path(self.config.folder)

    def _drawn(self) -> Collected:
        config, root = self.config, self._root()
        listing = read_source(root)
        if listing.layout not in LAYOUTS:
            raise DataError(f"The folder holds {listing.layout}", where=root, allowed=LAYOUTS)
        clips = [_clip(entry) for entry in listing.entries if entry.split in ("", config.split)]
        self._voices = Voices(clips, seed=config.seed, seconds=config.prompt_seconds, rule=config.prompt)
        found = Collected(
            rejected=rejections(listing.left_out),
            notes={
                "layout": listing.layout,
                "list": f"utterances of {config.min_seconds:g} to {config.max_seconds:g} s",
                "prompt": f"another utterance of the reader, {config.prompt_seconds:g} s, {config.prompt}",
            },
        )
        for clip in clips:
            try:
                seconds = info(clip.path).seconds
            except DataError as error:
                found.rejected.append(f"{clip.key}: {error.what}")
                continue
            if config.min_seconds <= seconds <= config.max_seconds:
                target = ClipItem(**{**vars(clip), "seconds": seconds})
                found.add(clean_id(clip.key), Pair(target=target))
        return found

    def _listed(self) -> Collected:
        path, root = Path(self.config.list_path), self._root()
        if not path.is_file():
            hint = "it is data/librispeech_pc_test_clean_cross_sentence.lst of F5-TTS"
            raise ConfigError("No such list", where=path, hint=hint)
        found = Collected(notes={"list": path.name, "prompt": "the whole utterance that the list names, with its words"})
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            fields = [field.strip() for field in line.split("\t")]
            if not line.strip():
                continue
            if len(fields) != NUM_FIELDS or any(name.count("-") != 2 for name in (fields[0], fields[3])):
                found.rejected.append(f"line {number}: it is not 'reference, seconds, words, utterance, seconds, words'")
                continue
            reference, words, target, text = fields[0], fields[2], fields[3], fields[5]
            clip = ClipItem(
                path=_flac(root, target),
                task=Task.SPEECH,
                text=text,
                seconds=0.0,
                speaker=f"librivox-{target.partition('-')[0]}",
                attributes={},
            )
            found.add(clean_id(target), Pair(target=clip, prompt=Prompt(path=_flac(root, reference), text=words)))
        return found


def _clip(entry: ManifestEntry) -> ClipItem:
    return ClipItem(
        path=entry.path, task=entry.task, text=entry.text, seconds=0.0, speaker=entry.speaker, attributes=entry.attributes
    )


def _flac(root: Path, key: str) -> Path:
    reader, chapter, _ = key.split("-")
    return root / reader / chapter / f"{key}.flac"
