"""Random access to the clips of many shards, by their indexes."""

from __future__ import annotations

import glob
import hashlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calm import audio
from calm.data.index import Clip, ShardIndex, load_index
from calm.data.latents import LATENT_EXTENSION, LatentFormat, excerpt, read_npy
from calm.data.schema import parse_record, to_sample
from calm.data.transcode import MAX_SECONDS
from calm.errors import DataError
from calm.types import TASKS, Sample, Task

__all__ = ["Row", "ShardSet", "find_shards", "read_span"]

MAX_OPEN_FILES = 64


@dataclass(frozen=True, slots=True)
class Row:
    """A clip and the shard (number in the set) that holds it."""

    shard: int
    clip: Clip


def find_shards(spec: str | Path, *, recursive: str = "") -> list[Path]:
    """Return the shards of a folder, a glob, or one file; several joined by commas. ``recursive="**/"`` goes down."""
    found: list[Path] = []
    for part in str(spec).split(","):
        path = Path(part.strip())
        if path.is_dir():
            matches = sorted(p for p in path.glob(f"{recursive}*.tar") if not _hidden(p, path))
        else:
            matches = sorted(Path(p) for p in glob.glob(str(path)))
        if not matches:
            inner = sorted({p.parent.name for p in path.glob("*/*.tar")}) if path.is_dir() else []
            raise DataError(
                "No shards here",
                where=path,
                allowed=f"a subfolder: {', '.join(inner)}" if inner else "a folder of *.tar, a shard, or a glob",
                hint="`calm shards pack SRC OUT` makes shards of your data",
            )
        found += matches
    return list(dict.fromkeys(found))


def read_span(descriptor: int, offset: int, size: int, crc32: int, *, where: object) -> bytes:
    """Read ``size`` bytes at ``offset`` and check them; raises DataError where they are missing or changed."""
    # A damaged index may ask for numbers that no file has and no call takes.
    present = min(size, os.fstat(descriptor).st_size - offset)
    data = os.pread(descriptor, present, offset) if present > 0 else b""
    if len(data) != size:
        raise DataError(f"{size - len(data):,} of {size:,} bytes are missing: cut short", where=where)
    if zlib.crc32(data) != crc32:
        raise DataError("the bytes differ from the index (crc32): damaged", where=where)
    return data


class ShardSet:
    """All clips of some shards. Picklable; files are opened on first use in each process.

    ``rows`` are the clips in the shards' order; ``by_task`` and ``by_speaker`` hold positions in ``rows``.
    ``latents`` says what latents the shards hold; None for audio.
    """

    def __init__(self, paths: list[Path]) -> None:
        """Load the indexes of ``paths``; use ``open`` for folders and globs."""
        self.paths = tuple(paths)
        indexes = [load_index(path) for path in self.paths]
        self.latents = _one_format(paths, indexes)
        self.rows = tuple(Row(number, clip) for number, index in enumerate(indexes) for clip in index.clips)
        self.by_task: dict[Task, list[int]] = {task: [] for task in TASKS}
        self.by_speaker: dict[str, list[int]] = {}
        for position, row in enumerate(self.rows):
            self.by_task[Task(row.clip.task)].append(position)
            if row.clip.speaker is not None:
                self.by_speaker.setdefault(row.clip.speaker, []).append(position)
        # Where the shards lie does not matter, what is in them does: a moved run resumes.
        summary = ";".join(f"{p.name}:{i.num_bytes}:{i.crc32}" for p, i in zip(self.paths, indexes, strict=True))
        self.fingerprint = hashlib.sha256(summary.encode()).hexdigest()[:16]
        # Reads name their offset (pread), so that forked workers may share a descriptor.
        self._descriptors: dict[int, int] = {}

    @classmethod
    def open(cls, spec: str | Path) -> ShardSet:
        """Open a folder of shards, a shard, a glob, or several joined by commas. Raises DataError."""
        return cls(find_shards(spec))

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, row: int, *, start_seconds: float = 0.0, max_seconds: float | None = None) -> Sample:
        """Read and decode one clip, or an excerpt of it; raises DataError with shard and key."""
        item = self.rows[row]
        clip, path = item.clip, self.paths[item.shard]
        where = f"{path}: {clip.key}"
        record = self.record(row)
        data = self.audio_bytes(row)
        if clip.extension == LATENT_EXTENSION:
            means = read_npy(data, record, where=where)
            content = excerpt(means, record, start_seconds=start_seconds, max_seconds=max_seconds)
        else:
            content = audio.read(
                data, start_seconds=start_seconds, max_seconds=max_seconds, cap_seconds=MAX_SECONDS, where=where
            )
        return to_sample(record, content=content, key=clip.key, shard=path.name)

    def audio_bytes(self, row: int) -> bytes:
        """Read the clip's audio (or latents) as it is stored; raises DataError with shard and key."""
        item = self.rows[row]
        clip, where = item.clip, f"{self.paths[item.shard]}: {item.clip.key}"
        return read_span(self._descriptor(item.shard), clip.audio_offset, clip.audio_size, clip.audio_crc32, where=where)

    def record(self, row: int) -> dict[str, Any]:
        """Read KEY.json of one clip; raises DataError with shard and key."""
        item = self.rows[row]
        clip, where = item.clip, f"{self.paths[item.shard]}: {item.clip.key}"
        data = read_span(self._descriptor(item.shard), clip.json_offset, clip.json_size, clip.json_crc32, where=where)
        return parse_record(data, where=where)

    def _descriptor(self, shard: int) -> int:
        if shard not in self._descriptors:
            while len(self._descriptors) >= MAX_OPEN_FILES:
                os.close(self._descriptors.pop(next(iter(self._descriptors))))
            try:
                self._descriptors[shard] = os.open(self.paths[shard], os.O_RDONLY)
            except OSError as error:
                raise DataError(f"The shard cannot be opened ({error})", where=self.paths[shard]) from error
        return self._descriptors[shard]

    def close(self) -> None:
        """Close the files of this process; they open again on use."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def __del__(self) -> None:
        if hasattr(self, "_descriptors"):
            self.close()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_descriptors": {}}


def _one_format(paths: Sequence[Path], indexes: Sequence[ShardIndex]) -> LatentFormat | None:
    for path, index in zip(paths, indexes, strict=True):
        if index.latents != indexes[0].latents:
            forms = (indexes[0].latents, index.latents)
            kinds = ["audio" if form is None else f"latents of VAE {form.vae[:12]}" for form in forms]
            raise DataError(
                f"The shards do not go together: {paths[0].name} holds {kinds[0]}, {path.name} holds {kinds[1]}",
                where=path,
                allowed="shards that all hold audio, or all latents of one VAE",
            )
    return indexes[0].latents if indexes else None


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)
