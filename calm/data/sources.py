"""Several sources of shards as one set, and from which source each clip is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from calm.data.config import ShardSource
from calm.data.shards import ShardSet, find_shards
from calm.errors import DataError

__all__ = ["open_sources"]


def open_sources(sources: Sequence[ShardSource]) -> tuple[ShardSet, list[int]]:
    """Return the clips of all sources, and the number of the source of each row.

    A speaker's name means the same voice in all of them. Raises DataError, also where two sources share a shard.
    """
    owner: dict[Path, int] = {}
    for number, source in enumerate(sources):
        for path in find_shards(source.urls):
            if path in owner:
                raise DataError(
                    f"The sources '{sources[owner[path]].name}' and '{source.name}' share a shard",
                    where=path,
                    allowed="every shard in one source",
                )
            owner[path] = number
    shards = ShardSet(list(owner))
    return shards, [owner[shards.paths[row.shard]] for row in shards.rows]
