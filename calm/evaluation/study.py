"""What every part of an evaluation shares: the model, the corpus, the lists' limits, and where it reports progress."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from calm.audio import write_bytes
from calm.evaluation.lists import ClipItem, load_clips
from calm.generation import AudioCALM, Generation, VoiceReference
from calm.metrics.intervals import Figure
from calm.safety.consent import Consent
from calm.types import Task, Waveform

__all__ = ["Study", "as_json", "consented", "stamp_of"]

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Study:
    """One evaluation of one model on one split.

    Args:
        limit: items of each list; None for the whole list.
        cache: folder for what depends on the corpus alone (recognised originals, the classifier's weights).
        listen_to: corpora whose training splits the classifier hears beside this one's.
        advance: called with (what, finished, of all) after every item.
    """

    model: AudioCALM
    corpus: Path
    split: str
    limit: int | None
    seed: int
    cache: Path
    listen_to: tuple[Path, ...] = ()
    advance: Callable[[str, int, int], None] = lambda what, finished, total: None

    def each(self, what: str, items: Sequence[_T]) -> Iterator[_T]:
        """Iterate over items and tell how far it is."""
        for number, item in enumerate(items):
            yield item
            self.advance(what, number + 1, len(items))

    def clips(self, task: Task) -> list[ClipItem]:
        """The first clips of a task in seeded order, at most ``limit``."""
        clips = load_clips(self.corpus, split=self.split, task=task)
        order = np.random.default_rng(self.seed).permutation(len(clips))
        return [clips[number] for number in order][: self.limit]

    def generate(self, text: str, task: Task, *, number: int, **options: Any) -> Generation:
        """Generate item ``number`` of a list with its own fixed seed."""
        return self.model.generate(text, task=str(task), seed=1_000_000 * self.seed + number, **options)[0]

    def remembered(self, name: str, key: Any, make: Callable[[], Any]) -> Any:
        """A JSON value that depends on ``key`` and the corpus alone, made once."""
        found = json.dumps([str(self.corpus.resolve()), stamp_of(self.corpus / self.split), key], default=str, sort_keys=True)
        path = self.cache / f"{name}-{hashlib.sha256(found.encode()).hexdigest()[:16]}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, (json.dumps(make()) + "\n").encode())
        return json.loads(path.read_text(encoding="utf-8"))


def consented(waveform: Waveform) -> VoiceReference:
    """A synthetic voice of the corpus as a reference: it belongs to nobody, and the record says so."""
    record = Consent.new(
        waveform, who="a synthetic voice of the corpus", purpose="evaluation", granted=date.today(), expires=date.today()
    )
    return VoiceReference(waveform=waveform, consent=record)


def as_json(values: Any) -> Any:
    """Records and figures as JSON values; a figure keeps its interval and count."""
    if isinstance(values, Figure):
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in vars(values).items()}
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        return as_json({field.name: getattr(values, field.name) for field in dataclasses.fields(values)})
    if isinstance(values, dict):
        return {str(name): as_json(value) for name, value in values.items()}
    if isinstance(values, Iterable) and not isinstance(values, str):
        return [as_json(value) for value in values]
    return values


def stamp_of(folder: Path) -> str:
    """A hash of the split's metadata: another corpus of the same name is another corpus."""
    return hashlib.sha256((folder / "metadata.jsonl").read_bytes()).hexdigest()
