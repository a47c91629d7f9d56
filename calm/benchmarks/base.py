"""What every benchmark is: a list by name, read in the set's own layout, chosen by seed, as a manifest."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from calm.data.layouts import LeftOut
from calm.errors import ConfigError, DataError
from calm.evaluation.manifest import Manifest, ManifestItem, spread
from calm.types import Task

__all__ = ["Benchmark", "Collected", "SetCard", "choose_caption", "clean_id", "rejections", "rng_of"]


@dataclass(frozen=True, kw_only=True)
class SetCard:
    """Where a set comes from. ``licence`` says what was seen, "unknown" where nothing was."""

    title: str
    url: str
    citation: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What a folder offers: candidates by id in the list's order, and what it names but cannot give.

    ``notes`` are counts and rules for the protocol.
    """

    candidates: dict[str, Any] = field(default_factory=dict)
    rejected: list[str] = field(default_factory=list)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def add(self, id: str, candidate: Any) -> None:
        """Add a candidate; an id that came before is rejected."""
        if id in self.candidates:
            self.rejected.append(f"{id}: the id is there twice")
        else:
            self.candidates[id] = candidate


class Benchmark(ABC):
    """A list of items. Subclasses read the candidates of a folder, and make an item of one of them.

    ``Config`` has ``folder``, ``split``, ``limit`` (None for all) and ``seed``. With a limit, a seeded draw is taken,
    and a smaller one is part of a larger one; items stay in the list's order.
    """

    card: ClassVar[SetCard]
    #: of a set of one task; those of several override ``task_of``
    task: ClassVar[Task | None] = None

    def __init__(self, config: Any = None) -> None:
        self.config = config or type(self).Config()

    @abstractmethod
    def collect(self) -> Collected:
        """Read the folder. Raises DataError where it does not hold the set."""

    @abstractmethod
    def item(self, id: str, candidate: Any, out: Path) -> ManifestItem:
        """Make one item; clips that must be cut are written below ``out``. Raises DataError with the reason."""

    def task_of(self, candidate: Any) -> Task | None:
        """The task of a candidate, known before its item is made."""
        return self.task

    def manifest(self, out: str | Path, *, most: int | None = None) -> Manifest:
        """Return the list; reference clips that had to be cut lie in ``out/prompts``.

        ``most``: items of each task at most, spread over the list; nothing is cut for the others. Without effect where
        the config has a limit, whose draw is not to change.

        Raises ConfigError (no folder given) or DataError (nothing there that can be used).
        """
        if not self.config.folder:
            raise ConfigError(
                f"The benchmark '{self.config.name}' needs its folder",
                where=f"benchmark.{self.config.name}.folder",
                hint=f"download {self.card.title}, and give the folder",
            )
        if self.config.limit is not None and self.config.limit < 1:
            raise ConfigError("The limit is below 1", where="limit", allowed="a number from 1, or none")
        found = self.collect()
        items, rejected = self._take(found, Path(out), most)
        if not items:
            reasons = "; ".join(rejected[:3]) or "the folder lists nothing"
            raise DataError("No item of the benchmark can be used", where=self.config.folder, allowed=reasons)
        return Manifest(
            name=self.config.name,
            items=tuple(items),
            protocol=self._protocol(found, items, rejected),
            rejected=tuple(rejected),
        )

    def _take(self, found: Collected, out: Path, most: int | None) -> tuple[list[ManifestItem], list[str]]:
        ids, limit, order = list(found.candidates), self.config.limit, self._order(found, most)
        made: dict[int, ManifestItem] = {}
        taken: Counter[Task] = Counter()
        rejected = list(found.rejected)
        for position in order:
            if limit is not None and len(made) == limit:
                break
            candidate = found.candidates[ids[position]]
            if limit is None and most is not None and taken[self.task_of(candidate)] == most:
                continue
            try:
                made[position] = self.item(ids[position], candidate, out)
            except DataError as error:
                rejected.append(f"{ids[position]}: {error.what}")
            else:
                taken[made[position].item.task] += 1
        return [made[position] for position in sorted(made)], rejected

    def _order(self, found: Collected, most: int | None) -> list[int]:
        """In which order candidates become items: the list's own, a seeded draw, or those that are spread over it first."""
        count = len(found.candidates)
        if self.config.limit is not None:
            return [int(position) for position in np.random.default_rng(self.config.seed).permutation(count)]
        if most is None:
            return list(range(count))
        tasks = [self.task_of(candidate) for candidate in found.candidates.values()]
        first: list[int] = []
        for task in dict.fromkeys(tasks):
            own = [position for position, each in enumerate(tasks) if each is task]
            first += (own[place] for place in spread(len(own), most))
        chosen = set(first)
        return [*first, *(position for position in range(count) if position not in chosen)]

    def _protocol(self, found: Collected, items: list[ManifestItem], rejected: list[str]) -> dict[str, Any]:
        tasks = [str(entry.item.task) for entry in items]
        return {
            "title": self.card.title,
            "url": self.card.url,
            "citation": self.card.citation,
            "licence": self.card.licence,
            "split": self.config.split,
            "seed": self.config.seed,
            "limit": self.config.limit,
            "candidates": len(found.candidates),
            "counts": {task: tasks.count(task) for task in dict.fromkeys(tasks)},
            "rejected": len(rejected),
            **found.notes,
        }


def rng_of(seed: int, key: str) -> np.random.Generator:
    """The generator of one item: it depends on the seed and the item's name, not on the list around it."""
    return np.random.default_rng([seed, *hashlib.sha256(key.encode()).digest()])


def clean_id(name: str, *, prefix: str = "") -> str:
    """A name as an id of a manifest, which is a file name as well: other characters become ``_``."""
    found = re.sub(r"[^A-Za-z0-9_.+-]", "_", prefix + name)[:200]
    return found if re.match(r"[A-Za-z0-9_]", found) else f"_{found[:199]}"


def choose_caption(texts: tuple[str, ...], *, rule: str, seed: int, key: str) -> str:
    """One caption of several: the ``first``, or one ``drawn`` by seed and key."""
    return texts[0] if rule == "first" else texts[int(rng_of(seed, key).integers(len(texts)))]


def rejections(left_out: Iterable[LeftOut]) -> list[str]:
    """What a layout could not use, as lines of a manifest's ``rejected``."""
    return [f"{item.file}: {item.reason}" for item in left_out]
