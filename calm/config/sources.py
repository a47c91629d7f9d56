"""Sources of shards: several in one word, `runs/a,runs/b,https://host/{000..123}.tar`, or listed with weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from calm.config.layers import COMMAND_LINE
from calm.errors import ConfigError

__all__ = ["check_train_is_read", "split_sources"]


def split_sources(spec: str | None) -> list[str]:
    """Return the sources that a word names, without the spaces around them; a comma within braces does not part them."""
    parts, depth = [""], 0
    for character in spec or "":
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts] if spec else []


def check_train_is_read(data: Any, *, origin_of: Callable[[str], str]) -> None:
    """Raise ConfigError where ``data.train`` was typed, and sources that a file lists take its place.

    Another corpus would be trained on, without a word. Who types both sees both.
    """
    listed_by = origin_of("data.sources")
    if data.sources and origin_of("data.train") == COMMAND_LINE != listed_by:
        raise ConfigError(
            f"'data.train' is not read: the sources that {listed_by} lists take its place",
            where=f"{COMMAND_LINE}: data.train",
            hint="add data.sources=[] to train on data.train alone, or list it as one of data.sources",
        )
