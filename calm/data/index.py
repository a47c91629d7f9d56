"""The index beside each shard: where every clip's bytes are, and what a plan needs to know about them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calm.audio import write_bytes
from calm.data.latents import LATENT_EXTENSION, LatentFormat
from calm.errors import DataError
from calm.types import TASKS

__all__ = ["FORMAT", "Clip", "ShardIndex", "index_path", "load_index", "read_index", "save_index"]

FORMAT = "audiocalm-shard-index"
VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One clip of a shard. Offsets and sizes in bytes of the tar; crc32 of each member's bytes.

    ``frames`` counts samples per channel; ``text_length`` counts characters of the transcript or caption.
    Of latents, ``audio_...`` is KEY.npy, and frames, rate and channels are those of the audio that was
    encoded, so that latents are planned exactly as their audio is.
    """

    key: str
    task: str
    speaker: str | None
    text_length: int
    frames: int
    sample_rate: int
    channels: int
    extension: str
    audio_offset: int
    audio_size: int
    audio_crc32: int
    json_offset: int
    json_size: int
    json_crc32: int

    @property
    def seconds(self) -> float:
        return self.frames / self.sample_rate


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """What a shard holds. ``num_bytes`` and ``crc32`` are of the whole tar file, so any change shows.

    ``latents`` is None for audio; ``source_crc32`` is of the audio shard that this one was made from, if any.
    """

    num_bytes: int
    crc32: int
    clips: tuple[Clip, ...]
    latents: LatentFormat | None = None
    source_crc32: int | None = None


_TYPES: dict[str, type | tuple[type, ...]] = {
    f.name: {"str": str, "int": int}.get(str(f.type), (str, type(None))) for f in dataclasses.fields(Clip)
}


def index_path(shard: str | os.PathLike[str]) -> Path:
    """``NAME-000000.tar`` -> ``NAME-000000.index.jsonl``."""
    return Path(shard).with_suffix(".index.jsonl")


def save_index(shard: Path, index: ShardIndex) -> Path:
    """Write the index beside ``shard``, complete or not at all: one header line, then one line per clip."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "shard": shard.name,
        "bytes": index.num_bytes,
        "crc32": index.crc32,
        "clips": len(index.clips),
    }
    if index.latents is not None:
        header["latents"] = dataclasses.asdict(index.latents)
    if index.latents is not None or index.source_crc32 is not None:
        header["source_crc32"] = index.source_crc32
    lines: Iterable[dict[str, Any]] = (
        {**dataclasses.asdict(clip), "duration": round(clip.seconds, 6)} for clip in index.clips
    )
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (header, *lines))
    return write_bytes(index_path(shard), text.encode("utf-8"))


def load_index(shard: Path) -> ShardIndex:
    """Read the index of ``shard`` for use: as ``read_index``, and the shard must have the size that it had."""
    index = read_index(shard)
    size = shard.stat().st_size
    if size != index.num_bytes:
        raise DataError(
            f"The shard has {size:,} bytes, its index was made for {index.num_bytes:,}: cut short, or the index is stale",
            where=shard,
            hint=f"copy the shard again; if it was rewritten on purpose: {_again(shard)}",
        )
    if any(c.audio_offset + c.audio_size > size or c.json_offset + c.json_size > size for c in index.clips):
        raise DataError("The index points past the end of the shard", where=index_path(shard), hint=_again(shard))
    return index


def read_index(shard: Path) -> ShardIndex:
    """Parse the index of ``shard``. Raises DataError where it is missing or damaged."""
    path = index_path(shard)
    if not shard.is_file():
        raise DataError("No such shard", where=shard)
    if not path.is_file():
        raise DataError("The shard has no index", where=path, hint=_again(shard))
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        header = json.loads(lines[0])
        if header["format"] != FORMAT or header["version"] != VERSION:
            raise ValueError(f"not {FORMAT} version {VERSION}")
        index = ShardIndex(
            num_bytes=int(header["bytes"]),
            crc32=int(header["crc32"]),
            clips=tuple(_clip(line) for line in lines[1:]),
            latents=LatentFormat(**header["latents"]) if "latents" in header else None,
            source_crc32=header.get("source_crc32"),
        )
        if header["shard"] != shard.name or header["clips"] != len(index.clips):
            raise ValueError("the header line does not match")
        if any((clip.extension == LATENT_EXTENSION) != (index.latents is not None) for clip in index.clips):
            raise ValueError("the clips are not all audio, or not all latents, as the header line says")
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"The index is damaged ({type(error).__name__}: {error})", where=path, hint=_again(shard)) from error
    return index


def _clip(line: str) -> Clip:
    values = json.loads(line)
    values.pop("duration", None)
    clip = Clip(**values)
    for name, kind in _TYPES.items():
        value = getattr(clip, name)
        if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int) and value < 0):
            raise ValueError(f"{name} is {value!r}")
    if clip.task not in TASKS or not clip.sample_rate or not clip.frames:
        raise ValueError(f"clip {clip.key!r}: task {clip.task!r}, {clip.frames} frames at {clip.sample_rate} Hz")
    return clip


def _again(shard: Path) -> str:
    return f"calm.data.check.write_index({str(shard)!r}) in Python writes it anew"
