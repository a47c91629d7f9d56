"""Shards made from shards: one of the same name for every source; what is finished stays, so a job can be resumed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from calm.audio import write_bytes
from calm.data.index import ShardIndex, index_path, load_index, save_index
from calm.data.latents import LatentFormat
from calm.data.scan import Examine, scan
from calm.data.shards import find_shards
from calm.errors import DataError, InputError

__all__ = ["Job", "find_jobs", "is_finished", "write_shard"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """An audio shard, its index, and where the shard made from it goes."""

    source: Path
    target: Path
    index: ShardIndex


def find_jobs(spec: str | Path, out: Path, *, rank: int = 0, world_size: int = 1) -> list[Job]:
    """Pair every audio shard of ``spec`` with the shard to be; what lies under ``out`` is no source.

    Args:
        spec: a folder (with its subfolders), a shard or a glob; several joined by commas.
        rank, world_size: of several processes, this one takes every ``world_size``-th shard from ``rank``.
    Raises InputError for latent shards, for two sources of one name, and where nothing is left.
    """
    pairs: dict[Path, Path] = {}
    for part in str(spec).split(","):
        root = Path(part.strip())
        for source in find_shards(root, recursive="**/"):
            if source.resolve().is_relative_to(out.resolve()):
                continue
            target = out / (source.relative_to(root) if root.is_dir() else source.name)
            if pairs.setdefault(target, source) != source:
                raise InputError(
                    f"{pairs[target]} and {source} have one name", where=target, hint="give each an OUT of its own"
                )
    if not pairs:
        raise InputError("OUT is where the audio shards are", where=out, allowed="another folder")
    mine = list(pairs.items())[rank::world_size]
    jobs = [Job(source=source, target=target, index=load_index(source)) for target, source in mine]
    for job in jobs:
        if job.index.latents is not None:
            raise InputError("The shard holds latents already", where=job.source, allowed="shards of audio")
    return jobs


def is_finished(job: Job, *, latents: LatentFormat | None = None) -> bool:
    """Return whether the job's target is there, made from this source; raises InputError where it is another one."""
    if not job.target.exists() or not index_path(job.target).exists():
        return False
    found = load_index(job.target)
    other = [
        reason
        for reason, differs in (
            ("of another VAE", found.latents != latents),
            ("of another version of the audio shard", found.source_crc32 != job.index.crc32),
        )
        if differs
    ]
    if other:
        raise InputError(
            f"The output holds a finished shard {' and '.join(other)}",
            where=job.target,
            hint="choose another folder, or remove this shard to have it made again",
        )
    return True


def write_shard(job: Job, members: Iterable[Mapping[str, object]], *, examine: Examine) -> None:
    """Write a whole shard, then its index, which says what it was made from: a shard with an index is finished.

    ``members`` are mappings with ``__key__`` and bytes by extension; ``examine`` is that of `scan`.
    """
    from webdataset import TarWriter

    buffer = io.BytesIO()
    with TarWriter(buffer, encoder=False, user="audiocalm", group="audiocalm", mtime=0) as writer:
        for member in members:
            writer.write(member)
    write_bytes(job.target, buffer.getvalue())
    result = scan(job.target, examine=examine)
    if result.problems:
        raise DataError(f"The shard just written is not sound: {result.problems[0].reason}", where=job.target)
    save_index(job.target, replace(result.index, source_crc32=job.index.crc32))
