"""The inaudible marks that are registered, as publishing and detecting use them."""

from __future__ import annotations

import functools
from typing import Any, Protocol

from calm import registry
from calm.errors import CalmError
from calm.safety.settings import ProvenanceSettings
from calm.types import Waveform

__all__ = ["KIND", "Mark", "available_marks", "chosen_mark", "find_mark"]

KIND = "watermark"


class Mark(Protocol):
    """What publishing needs of a watermark."""

    def embed(self, waveform: Waveform) -> Waveform:
        """The same audio, marked; rate, channels and length stay."""
        ...

    def detect(self, waveform: Waveform) -> Any:
        """A record with ``found``, ``score`` and ``threshold``."""
        ...


@functools.cache
def find_mark(name: str, task: str | None = None) -> Mark | None:
    """The mark registered as ``name``, built once; None for "none", or where no mark is registered at all.

    Args:
        task: what the audio was made for; a mark with a method ``for_task`` treats tasks differently.
    Raises UnknownNameError where there is no such mark, and what the mark raises where it lacks its weights.
    """
    if KIND not in registry.KINDS:
        return None
    if task is None:
        return registry.build(KIND, name)
    mark = find_mark(name)  # one set of weights for all tasks
    suited = getattr(mark, "for_task", None)
    return mark if suited is None else suited(task)


def chosen_mark(settings: ProvenanceSettings, task: str | None = None) -> Mark | None:
    """The mark that the settings name; None where it is turned off. Raises as ``find_mark`` does."""
    return find_mark(settings.watermark, task) if "watermark" in settings.parts else None


def available_marks() -> dict[str, Mark]:
    """Name -> mark, for all that work here: those that lack their weights or libraries are left out."""
    marks = {}
    for name in registry.names(KIND) if KIND in registry.KINDS else ():
        try:
            marks[name] = find_mark(name)
        except (CalmError, ImportError):
            continue
    return {name: mark for name, mark in marks.items() if mark is not None}
