"""Seed-TTS-eval, English: the fixed list ``meta.lst`` with its own prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from calm.audio import info
from calm.benchmarks.base import Benchmark, Collected, SetCard, clean_id
from calm.data.layouts.base import read_text
from calm.errors import DataError
from calm.evaluation.manifest import ManifestItem
from calm.metrics import Item
from calm.registry import register
from calm.types import Task

__all__ = ["SeedTTSEnglish"]

LIST = "meta.lst"


@register("benchmark", "seed_tts_en")
class SeedTTSEnglish(Benchmark):
    """Seed-TTS-eval in English: the published list with its whole prompts and their words.

    A line is ``utt|prompt_text|prompt_wav|infer_text[|infer_wav]``; paths are relative to the list. Where the original
    is not named, ``wavs/UTT.wav`` beside the list is taken if it is there (as F5-TTS's loader does).
    """

    task = Task.SPEECH
    card = SetCard(
        title="Seed-TTS-eval, en",
        url="https://github.com/BytedanceSpeech/seed-tts-eval",
        citation="Anastassiou et al., 2024, arXiv 2406.02430",
        licence="unknown; its clips are of Common Voice",
    )

    @dataclass(frozen=True, kw_only=True)
    class Config:
        name: Literal["seed_tts_en"] = "seed_tts_en"
        folder: str = ""
        split: str = "en"
        limit: int | None = None
        seed: int = 0

    def collect(self) -> Collected:
        path = self._list()
        found = Collected(notes={"list": path.name, "prompt": "the whole clip that the list names, with its words"})
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            fields = [field.strip() for field in line.split("|")]
            if not line.strip():
                continue
            if len(fields) not in (4, 5) or not all(fields[:4]):
                found.rejected.append(f"line {number}: it is not utt|prompt_text|prompt_wav|infer_text[|infer_wav]")
                continue
            found.add(clean_id(fields[0]), (path.parent, fields))
        return found

    def item(self, id: str, candidate: Any, out: Path) -> ManifestItem:
        folder, fields = candidate
        utterance, words, prompt, text, *original = fields
        reference = folder / prompt
        info(reference)  # a prompt that is missing or damaged is one clear reason
        target = folder / original[0] if original and original[0] else folder / "wavs" / f"{utterance}.wav"
        item = Item(id=id, task=Task.SPEECH, text=text, reference_text=words)
        return ManifestItem(item=item, reference=reference, target=target if target.is_file() else None)

    def _list(self) -> Path:
        folder = Path(self.config.folder)
        for path in (folder, folder / LIST, folder / self.config.split / LIST):
            if path.is_file():
                return path
        raise DataError(f"The folder has no {LIST}", where=folder, allowed=f"FOLDER/{LIST} or FOLDER/en/{LIST}")
