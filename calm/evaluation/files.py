"""The files of one trial: read when they are needed, once for all metrics, and hashed for the rows that depend on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from calm import audio
from calm.errors import DataError
from calm.evaluation.manifest import ManifestItem
from calm.evaluation.systems import System
from calm.metrics import Trial
from calm.scorers.hub import hash_of
from calm.types import Waveform

__all__ = ["TrialFiles"]


@dataclass(frozen=True, kw_only=True)
class TrialFiles:
    """The files of one trial, read when they are needed, and once for all metrics."""

    system: System
    entry: ManifestItem
    path: Path

    def clip(self) -> Waveform:
        return _read(self.path, _stamp(self.path))

    def content(self, needs: Sequence[str]) -> list[Any]:
        """What the rows of a metric with these needs depend on, as JSON values."""
        parts: list[Any] = [dataclasses.asdict(self.entry.item), _hash(self.path, _stamp(self.path))]
        parts += [_hash(path, _stamp(path)) for need in ("reference", "target") if need in needs and (path := self._other(need))]
        return [*parts, dict(self.system.logs[self.entry.item.id])] if "log" in needs else parts

    def trial(self, needs: Sequence[str]) -> Trial:
        log = self.system.logs.get(self.entry.item.id, {})
        return Trial(item=self.entry.item, clip=self.clip(), log=log, **self.others(needs))

    def others(self, needs: Sequence[str]) -> dict[str, Waveform]:
        """The clip of the voice and the original, as far as they are needed. Raises DataError that names the file."""
        found = {}
        for need in ("reference", "target"):
            if need in needs and (path := self._other(need)) is not None:
                try:
                    found[need] = _read(path, _stamp(path))
                except DataError as error:
                    raise DataError(f"Its {need} {path.name} cannot be used: {error.what}", where=path) from error
        return found

    def _other(self, need: str) -> Path | None:
        return self.entry.reference if need == "reference" else self.entry.target


def _stamp(path: Path) -> tuple[int, int]:
    """Changes when the file does. Raises DataError where it is missing."""
    try:
        found = path.stat()
    except OSError:
        raise DataError(f"{path.name}, which the manifest names, is missing", where=path) from None
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=4)
def _read(path: Path, stamp: tuple[int, int]) -> Waveform:
    return audio.read(path)


@lru_cache(maxsize=65_536)
def _hash(path: Path, stamp: tuple[int, int]) -> str:
    return hash_of(path)
