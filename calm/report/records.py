"""What the page shows, as records: a board for each benchmark, with its columns and systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from calm.evaluation.manifest import ManifestItem
from calm.types import Task

__all__ = ["Board", "Cell", "Clip", "LoadedResults", "Measure", "Skipped", "System"]


@dataclass(frozen=True, kw_only=True)
class LoadedResults:
    """The content of a result file (see `calm.evaluation.results`) and the folder that its paths are relative to."""

    results: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A column: a figure and how it was measured.

    ``id`` tells apart figures of one key that were measured differently; ``how`` is the metric's description.
    ``published`` says that nobody measured it here.
    """

    id: str
    key: str
    label: str
    better: str
    digits: int
    unit: str
    metric: str
    how: Mapping[str, Any]
    published: bool = False

    def shown(self, value: float) -> str:
        """The digits that a reader sees; figures are compared by them."""
        text = f"{value:.{self.digits}f}"
        return text.replace("-", "−") if float(text) else text.lstrip("-")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A figure of a table. Published figures may have no interval and no count."""

    value: float
    low: float | None = None
    high: float | None = None
    count: int | None = None


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip of a system. ``scores`` are by the id of a measure; ``audio`` is None where no file is named."""

    audio: Path | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """What a system's figures do not rest on, and why."""

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    unusable: Mapping[str, str] = field(default_factory=dict)
    unscored: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class System:
    """A row. ``figures`` are by task and id of a measure, ``clips`` by id of an item."""

    name: str
    kind: str
    scope: str = ""
    source: str = ""
    figures: Mapping[Task, Mapping[str, Cell]] = field(default_factory=dict)
    clips: Mapping[str, Clip] = field(default_factory=dict)
    skipped: Skipped = field(default_factory=Skipped)

    @property
    def published(self) -> bool:
        """Whether its figures were read in a paper, not measured here."""
        return self.kind == "published"

    @property
    def original(self) -> bool:
        """Whether these are the recordings themselves."""
        return self.kind == "original"

    @property
    def ranked(self) -> bool:
        """Whether it competes: not the recordings, nor what a VAE makes of them, which is a ceiling."""
        return self.kind not in ("original", "reconstruction")


@dataclass(frozen=True, kw_only=True)
class Board:
    """All systems of one benchmark, of one list of items.

    Args:
        sha256: hash of the list; None for published figures, which name none.
        items: how many items each task has.
        manifest: the items by id, where the manifest is there and is the one that was scored.
        rejected: lines of the manifest that could not be used.
        notes: what a reader should know about how the files were put together.
        machines: hardware of each file, in words.
    """

    name: str
    title: str
    sha256: str | None
    items: Mapping[Task, int]
    protocol: Mapping[str, Any]
    columns: Mapping[str, Measure]
    systems: tuple[System, ...]
    manifest: Mapping[str, ManifestItem] = field(default_factory=dict)
    rejected: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()

    def tasks(self) -> tuple[Task, ...]:
        """Tasks that some system has a figure for."""
        return tuple(task for task in Task if any(system.figures.get(task) for system in self.systems))

    def measures(self, task: Task) -> tuple[Measure, ...]:
        """Columns that some system has a figure in, in order."""
        filled = {key for system in self.systems for key in system.figures.get(task, ())}
        return tuple(measure for key, measure in self.columns.items() if key in filled)
