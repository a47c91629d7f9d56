"""How several sources of shards are named in one word: `runs/a,runs/b,https://host/{000..123}.tar`."""

from __future__ import annotations

__all__ = ["split_sources"]


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
