"""What a row yields: ratios with their spread, their goal, and who runs them."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from calm import _torchaudio

__all__ = ["ROWS", "Goal", "MissingPeer", "Reading", "compare", "peer_module", "row"]

class MissingPeer(Exception):
    """A peer is not installed; the message says how to get it. A row raises it, or yields it and goes on."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Where a ratio should be. ``bar`` is the least that is accepted, ``limit`` what physics or the peer allows."""

    sense: Literal[">=", "<="]
    value: float
    bar: float | None = None
    limit: str = ""

    def share(self, ratio: float) -> float:
        """How much of the goal is reached: 1 at the goal, above 1 beyond it."""
        return ratio / self.value if self.sense == ">=" else self.value / ratio

    def reaches_bar(self, ratio: float) -> bool:
        bar = self.value if self.bar is None else self.bar
        return ratio >= bar if self.sense == ">=" else ratio <= bar


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One ratio of one run: median and range over rounds. ``ours`` and ``peer`` are in words, with units.

    ``key`` names the ratio over commits. Without a goal the figure only stands beside another.
    """

    row: str
    key: str
    what: str
    ours: str
    peer: str
    ratio: float
    low: float
    high: float
    goal: Goal | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Reading:
        goal = record["goal"]
        return cls(**{**record, "goal": None if goal is None else Goal(**goal)})


#: row -> the function that measures it in so many rounds
ROWS: dict[str, Callable[[int], Iterable[Reading | MissingPeer]]] = {}


def row(name: str) -> Callable[[Callable], Callable]:
    """Register ``function(rounds) -> readings`` as a row."""

    def register(function: Callable) -> Callable:
        ROWS[name] = function
        return function

    return register


def compare(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """Median and range of above / below, round by round."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def peer_module(name: str, *, install: str) -> Any:
    """Import a module of a peer. Raises MissingPeer."""
    _torchaudio.install()  # some of them import it
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPeer(f"{name} is missing ({error}): {install}") from error
