"""Options of one registered component from the words of a command line, for verbs that compose no run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from calm import registry
from calm.config.layers import COMMAND_LINE, parse_overrides
from calm.config.records import Reader

__all__ = ["read_component", "read_words"]


def read_words(words: Sequence[str]) -> dict[str, Any]:
    """Read ``a.b=value`` words into nested plain values. Raises ConfigError where a word is none."""
    return parse_overrides(words, groups=())[0].values


def read_component(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    """Return the component's ``Config`` with these options, checked and converted like those of a run.

    Raises UnknownNameError or ConfigError with the closest name and the allowed ones.
    """
    schema = registry.lookup(kind, name).Config
    reader = Reader(lambda path: COMMAND_LINE)
    return reader.record(schema, {**options, "name": name}, path=name)
