"""Which part of a clip is used: the whole clip up to a maximum, or a random crop of fixed length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from calm.types import Task

__all__ = ["ClipCut", "Cut", "Cutter", "MakeRng", "RandomCrop"]


#: Makes the random generator of one decision. Most clips need no decision, and a generator costs as much as a tenth of
#: the decoding of a short clip.
MakeRng = Callable[[], np.random.Generator]


@dataclass(frozen=True, slots=True)
class Cut:
    """An excerpt of at most ``seconds`` from ``start``; ``complete`` says whether it reaches the clip's end."""

    start: float
    seconds: float
    complete: bool


class Cutter(Protocol):
    """Chooses an excerpt of a clip of ``clip_seconds``; ``seconds`` is its longest."""

    seconds: float

    def __call__(self, clip_seconds: float, task: Task, make_rng: MakeRng) -> Cut: ...


@dataclass(frozen=True)
class ClipCut:
    """Whole clips for the generator. Longer ones are cut: speech and sound at their start, where their text
    begins; music anywhere, because its caption describes all of it."""

    seconds: float

    def __call__(self, clip_seconds: float, task: Task, make_rng: MakeRng) -> Cut:
        spare = max(0.0, clip_seconds - self.seconds)
        start = float(make_rng().uniform(0.0, spare)) if spare and task == Task.MUSIC else 0.0
        return Cut(start, self.seconds, start >= spare)


@dataclass(frozen=True)
class RandomCrop:
    """Random crops of fixed length for the VAE; clips that are shorter are used whole and padded later."""

    seconds: float

    def __call__(self, clip_seconds: float, task: Task, make_rng: MakeRng) -> Cut:
        spare = max(0.0, clip_seconds - self.seconds)
        start = float(make_rng().uniform(0.0, spare)) if spare else 0.0
        return Cut(start, self.seconds, start >= spare)
