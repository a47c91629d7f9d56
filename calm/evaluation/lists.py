"""Fixed lists of what is evaluated, drawn from the corpus's held-out splits.

Figures are developed on ``validation`` and reported on ``test``, which nothing is tuned on. A list depends on the
corpus, the split and the seed alone.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from calm.audio import read
from calm.errors import DataError
from calm.types import Task, Waveform

__all__ = [
    "SIZES",
    "ClipItem",
    "SpeechItem",
    "join_clips",
    "load_clips",
    "make_speech_list",
    "voice_reference",
    "voices_of",
]

#: speech utterances of the development and of the final list
SIZES = {"validation": 100, "test": 500}
REFERENCE_SECONDS = 3.0
NUM_OTHERS = 9
#: silence between clips that are joined to one reference
GAP_SECONDS = 0.15


@dataclass(frozen=True, kw_only=True)
class ClipItem:
    """One original clip: its file, task, transcript or caption, and the generator's attributes."""

    path: Path
    task: Task
    text: str
    seconds: float
    speaker: str | None
    attributes: dict[str, Any]

    @property
    def key(self) -> str:
        return self.path.stem

    @property
    def voice(self) -> str:
        """The speaker at one base pitch: what a listener would call one voice."""
        return f"{self.speaker}/{self.attributes.get('pitch', '')}"

    def audio(self) -> Waveform:
        return read(self.path)


@dataclass(frozen=True, kw_only=True)
class SpeechItem:
    """A sentence to be said in the voice of a reference; ``target`` is the original that says it in that voice.

    ``reference``: clips of the same voice, none of them the target, that are joined. ``others``: names of nine
    voices of other speakers, against which the spoken sentence is compared.
    """

    target: ClipItem
    reference: tuple[ClipItem, ...]
    others: tuple[str, ...]

    @property
    def reference_audio(self) -> Waveform:
        return join_clips(self.reference)


def load_clips(corpus: str | Path, *, split: str, task: Task | str | None = None) -> list[ClipItem]:
    """Read a split's metadata. Raises DataError where the corpus lacks it."""
    folder = Path(corpus) / split
    path = folder / "metadata.jsonl"
    if not path.is_file():
        raise DataError("The corpus has no such split", where=path, hint="make one with `calm corpus`")
    items = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
            item = ClipItem(
                path=folder / entry["file_name"],
                task=Task.parse(entry["task"]),
                text=entry.get("text") or entry["caption"],
                seconds=float(entry["duration"]),
                speaker=entry.get("speaker"),
                attributes=entry.get("attributes", {}),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"The metadata cannot be used ({error!r})", where=f"{path}:{number}") from None
        items.append(item)
    return [item for item in items if task is None or item.task == task]


def make_speech_list(corpus: str | Path, *, split: str, size: int | None = None, seed: int = 0) -> list[SpeechItem]:
    """Draw the list of a split: every target once, in seeded order, at most ``size`` (by default that of SIZES).

    The nine others come from the split's own speakers first, and where it has fewer than ten from the
    training split. A list of fewer items is the beginning of a longer one.
    """
    voices, spare = voices_of(corpus, split), voices_of(corpus, "train")
    clips = [clip for clip in load_clips(corpus, split=split, task=Task.SPEECH) if clip.speaker]
    items = []
    for number in np.random.default_rng(seed).permutation(len(clips)):
        target = clips[number]
        rng = np.random.default_rng([seed, int(number)])
        reference = _draw_reference(rng, [clip for clip in voices[target.voice] if clip.path != target.path], like=target)
        if reference is not None:
            items.append(SpeechItem(target=target, reference=reference, others=_draw_others(rng, target, voices, spare)))
    wanted = SIZES.get(split) if size is None else size
    if not items or (wanted is not None and len(items) < min(wanted, len(clips) // 2)):
        raise DataError(
            f"Only {len(items)} of {len(clips)} clips have a reference of {REFERENCE_SECONDS:g} s in the same voice",
            where=Path(corpus) / split,
            hint="make a larger corpus",
        )
    return items[:wanted]


def voice_reference(voice: str, clips: list[ClipItem], *, seed: int = 0) -> tuple[ClipItem, ...]:
    """The reference by which a voice takes part in the trials of others; all its clips where those are short."""
    rng = np.random.default_rng([seed, *voice.encode()])
    return _draw_reference(rng, clips) or tuple(clips)


def voices_of(corpus: str | Path, *splits: str) -> dict[str, list[ClipItem]]:
    """Voice -> its clips, over splits."""
    clips = (clip for split in splits for clip in load_clips(corpus, split=split, task=Task.SPEECH))
    return _by_voice(clip for clip in clips if clip.speaker)


def join_clips(clips: Iterable[ClipItem]) -> Waveform:
    """Clips one after the other, with short gaps; all of one rate."""
    parts: list[torch.Tensor] = []
    for clip in clips:
        sound = clip.audio()
        gap = sound.audio.new_zeros(sound.audio.shape[0], round(GAP_SECONDS * sound.sample_rate))
        parts += [sound.audio, gap]
    return Waveform(audio=torch.cat(parts[:-1], dim=-1), sample_rate=sound.sample_rate)


def _by_voice(clips: Iterable[ClipItem]) -> dict[str, list[ClipItem]]:
    voices: dict[str, list[ClipItem]] = defaultdict(list)
    for clip in clips:
        voices[clip.voice].append(clip)
    return dict(voices)


def _draw_reference(
    rng: np.random.Generator, clips: list[ClipItem], *, like: ClipItem | None = None
) -> tuple[ClipItem, ...] | None:
    """Clips of together at least 3 s; those that are read at the rate of ``like`` come first."""
    order = [clips[number] for number in rng.permutation(len(clips))]
    if like is not None:
        # A model copies the rate of its reference: another rate would make every length wrong.
        order.sort(key=lambda clip: clip.attributes.get("rate") != like.attributes.get("rate"))
    chosen, seconds = [], 0.0
    for clip in order:
        chosen.append(clip)
        seconds += clip.seconds
        if seconds >= REFERENCE_SECONDS:
            return tuple(chosen)
    return None


def _draw_others(
    rng: np.random.Generator, target: ClipItem, voices: dict[str, list[ClipItem]], spare: dict[str, list[ClipItem]]
) -> tuple[str, ...]:
    """Nine voices of nine other speakers."""
    speakers: dict[str, list[str]] = defaultdict(list)
    for voice in voices:
        speakers[voice.partition("/")[0]].append(voice)
    speakers.pop(str(target.speaker), None)
    more: dict[str, list[str]] = defaultdict(list)
    for voice in spare:
        more[voice.partition("/")[0]].append(voice)
    own, extra = sorted(speakers), sorted(set(more) - set(speakers) - {str(target.speaker)})
    names = [own[i] for i in rng.permutation(len(own))] + [extra[i] for i in rng.permutation(len(extra))]
    table = {**more, **speakers}
    return tuple(str(rng.choice(sorted(table[name]))) for name in names[:NUM_OTHERS])
