"""Reference clips of a voice: other utterances of the same speaker, joined, and cut to length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from calm.audio import info, write
from calm.benchmarks.base import rng_of
from calm.errors import DataError
from calm.evaluation.lists import ClipItem, join_clips
from calm.types import Waveform

__all__ = ["Prompt", "PromptRule", "Utterance", "Voices", "write_prompt"]

#: ``cut``: exactly so many seconds, words unknown where something was cut off; ``whole``: nothing is cut off
PromptRule = Literal["cut", "whole"]
#: a whole utterance that is longer than this is not drawn: most systems take short prompts only
MAX_WHOLE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A reference clip as a file. ``text`` are its words, "" where they are not known."""

    path: Path
    text: str


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A clip of the set with what its header says. ``seconds`` is 0 where the header cannot be read."""

    clip: ClipItem
    sample_rate: int
    channels: int


class Voices:
    """The utterances of each speaker, of which the prompts are drawn; headers are read once, when they are needed."""

    def __init__(self, clips: Iterable[ClipItem], *, seed: int, seconds: float, rule: PromptRule) -> None:
        self.seed, self.seconds, self.rule = seed, seconds, rule
        self._clips: dict[str, list[ClipItem]] = defaultdict(list)
        self._headers: dict[Path, Utterance | None] = {}
        for clip in clips:
            if clip.speaker:
                self._clips[clip.speaker].append(clip)

    def prompt(self, target: ClipItem, path: Path) -> Prompt:
        """Write a prompt for ``target`` to ``path``. Raises DataError where the speaker has too little else."""
        drawn = self._draw(target)
        if drawn is None:
            raise DataError(f"the speaker '{target.speaker}' has no {self.seconds:g} s besides this clip")
        return write_prompt([clip.clip for clip in drawn], path, seconds=self.seconds, rule=self.rule)

    def _draw(self, target: ClipItem) -> list[Utterance] | None:
        """The first in seeded order that is long enough alone; where none is, the first that are together."""
        others = [clip for clip in self._clips[target.speaker or ""] if clip.path != target.path]
        order = rng_of(self.seed, target.path.stem).permutation(len(others))
        longest = MAX_WHOLE_SECONDS if self.rule == "whole" else float("inf")
        short: list[Utterance] = []
        for number in map(int, order):
            found = self._header(others[number])
            if found is None or found.clip.seconds > longest:
                continue
            if found.clip.seconds >= self.seconds:
                return [found]
            short.append(found)
        return self._join(short)

    def _join(self, short: list[Utterance]) -> list[Utterance] | None:
        # Clips of another rate than the first's are left out: joining does not resample.
        chosen: list[Utterance] = []
        for found in short:
            if chosen and (found.sample_rate, found.channels) != (chosen[0].sample_rate, chosen[0].channels):
                continue
            chosen.append(found)
            if sum(each.clip.seconds for each in chosen) >= self.seconds:
                return chosen
        return None

    def _header(self, clip: ClipItem) -> Utterance | None:
        if clip.path not in self._headers:
            try:
                header = info(clip.path)
            except DataError:
                self._headers[clip.path] = None
            else:
                known = ClipItem(**{**vars(clip), "seconds": header.seconds})
                found = Utterance(clip=known, sample_rate=header.sample_rate, channels=header.channels)
                self._headers[clip.path] = found
        return self._headers[clip.path]


def write_prompt(clips: Sequence[ClipItem], path: Path, *, seconds: float, rule: PromptRule) -> Prompt:
    """Join clips of one rate, cut them to ``seconds`` by the rule ``cut``, and write a WAV.

    A whole single file is used where it lies. Raises DataError where a clip cannot be read.
    """
    text = " ".join(clip.text.strip() for clip in clips)
    if rule == "whole" and len(clips) == 1:
        return Prompt(path=clips[0].path, text=text)
    sound = join_clips(clips)
    length = round(seconds * sound.sample_rate)
    if rule == "cut" and sound.audio.shape[-1] > length:
        sound, text = Waveform(audio=sound.audio[..., :length], sample_rate=sound.sample_rate), ""
    return Prompt(path=write(path, sound, provenance=None), text=text)
