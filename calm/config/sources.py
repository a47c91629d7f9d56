"""How several sources of shards are named in one word: `runs/a,runs/b,https://host/{000..123}.tar`."""

from __future__ import annotations

import re

__all__ = ["split_sources"]

#: between sources; a comma within the braces of a source does not part it
_COMMA = re.compile(r",(?![^{]*})")


def split_sources(spec: str | None) -> list[str]:
    """Return the sources that a word names, without the spaces around them; [] for none."""
    return [part.strip() for part in _COMMA.split(spec)] if spec else []
