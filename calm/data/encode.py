"""Audio shards -> latent shards: the same clips, texts and keys, with KEY.npy in place of the audio."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from calm.audio import fit, level_dbfs, write_bytes
from calm.data.collate import convert
from calm.data.index import ShardIndex, index_path, load_index, save_index
from calm.data.latents import LATENT_EXTENSION, SPARE_FRAMES, LatentFormat, num_frames, to_npy
from calm.data.scan import scan
from calm.data.shards import ShardSet, find_shards
from calm.errors import DataError, InputError

__all__ = ["EncodeReport", "LatentEncoder", "encode_shards"]

#: a clip is padded with silence to a multiple of this many frames before it is encoded (METHOD 2.1)
FRAME_MULTIPLE = 16

#: called with (clips done, clips in all, name of the clip or shard)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class LatentEncoder:
    """A VAE as this package sees it.

    ``means`` maps audio [B, A, S] (S a multiple of the hop, on the CPU) to posterior means [B, S / hop, C].
    """

    form: LatentFormat
    channels: int
    means: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class EncodeReport:
    """What this process did: shards written, shards that were finished before, clips and seconds written."""

    out: Path
    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    clips: int
    seconds: float


def encode_shards(
    spec: str | Path,
    out: str | Path,
    *,
    encoder: LatentEncoder,
    batch_seconds: float = 60.0,
    rank: int = 0,
    world_size: int = 1,
    progress: Progress | None = None,
) -> EncodeReport:
    """Write a latent shard under ``out`` for every audio shard of ``spec``, with the same name and subfolder.

    A shard appears whole, its index last; run again, finished shards are kept. Clips are encoded whole, in batches
    of equal padded length, so what a clip becomes does not depend on its neighbours.

    Args:
        spec: a folder (with its subfolders), a shard or a glob; several joined by commas.
        batch_seconds: audio encoded at once, at most, unless one clip is longer.
        rank, world_size: of several processes, this one takes every ``world_size``-th shard from ``rank``.
        progress: called after every clip written, and after every shard kept.
    Raises DataError (a clip cannot be read or encoded), or InputError (arguments; ``out`` holds something else).
    """
    if not batch_seconds > 0 or not 0 <= rank < world_size:
        where = f"batch_seconds {batch_seconds:g}, rank {rank} of {world_size}"
        raise InputError("Not sizes to encode by", where=where, allowed="batch_seconds > 0, 0 <= rank < processes")
    out = Path(out)
    jobs = [(source, target, load_index(source)) for source, target in _targets(spec, out)[rank::world_size]]
    for source, _, index in jobs:
        if index.latents is not None:
            raise InputError("The shard holds latents already", where=source, allowed="shards of audio")
    total = sum(len(index.clips) for _, _, index in jobs)
    written, kept, done, clips, seconds = [], [], 0, 0, 0.0
    for source, target, index in jobs:
        if _is_finished(target, index, encoder.form):
            kept.append(target)
            done += len(index.clips)
            _tell(progress, done, total, target.name)
            continue
        members = dict(_encoded(source, encoder, batch_seconds=batch_seconds, told=_counter(progress, done, total)))
        _write(target, index, [members[row] for row in range(len(index.clips))])
        written.append(target)
        done += len(index.clips)
        clips += len(index.clips)
        seconds += sum(clip.seconds for clip in index.clips)
    return EncodeReport(out=out, written=tuple(written), kept=tuple(kept), clips=clips, seconds=seconds)


def _targets(spec: str | Path, out: Path) -> list[tuple[Path, Path]]:
    """Pair every audio shard with the latent shard to be; what lies under ``out`` is no source."""
    pairs: dict[Path, Path] = {}
    for part in str(spec).split(","):
        root = Path(part.strip())
        for source in find_shards(root, recursive="**/"):
            if source.resolve().is_relative_to(out.resolve()):
                continue
            target = out / (source.relative_to(root) if root.is_dir() else source.name)
            if pairs.setdefault(target, source) != source:
                raise InputError(
                    f"{pairs[target]} and {source} have one name", where=target, hint="encode them into two folders"
                )
    if not pairs:
        raise InputError("OUT is where the audio shards are", where=out, allowed="another folder")
    return [(source, target) for target, source in pairs.items()]


def _is_finished(target: Path, source: ShardIndex, form: LatentFormat) -> bool:
    """Return whether ``target`` is the finished shard of ``source``; raises InputError where it is another one."""
    if not target.exists() or not index_path(target).exists():
        return False
    found = load_index(target)
    other = [
        reason
        for reason, differs in (
            ("of another VAE", found.latents != form),
            ("of another version of the audio shard", found.source_crc32 != source.crc32),
        )
        if differs
    ]
    if other:
        raise InputError(
            f"The output holds a finished shard {' and '.join(other)}",
            where=target,
            hint="choose another folder, or remove this shard to have it made again",
        )
    return True


def _encoded(
    source: Path, encoder: LatentEncoder, *, batch_seconds: float, told: Callable[[str], None]
) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield (row, members of the tar) of every clip, by padded length; a clip is held only until its batch is full."""
    form = encoder.form
    shards = ShardSet([source])
    waiting: dict[int, list[tuple[int, Tensor]]] = {}

    def flush(frames: int) -> Iterator[tuple[int, dict[str, object]]]:
        rows, clips = zip(*waiting.pop(frames), strict=True)
        means = encoder.means(torch.stack([fit(clip, frames * form.hop) for clip in clips])).float().cpu()
        for row, clip, mean in zip(rows, clips, means, strict=True):
            yield row, _members(shards, row, clip, mean, form)
            told(shards.rows[row].clip.key)

    for row in range(len(shards)):
        audio = convert(shards.read(row).waveform, sample_rate=form.sample_rate, channels=encoder.channels)
        needed = num_frames(audio.shape[-1], form.hop) + SPARE_FRAMES
        frames = -(-needed // FRAME_MULTIPLE) * FRAME_MULTIPLE
        waiting.setdefault(frames, []).append((row, audio))
        if (len(waiting[frames]) + 1) * frames * form.hop > batch_seconds * form.sample_rate:
            yield from flush(frames)
    for frames in list(waiting):
        yield from flush(frames)
    shards.close()


def _members(shards: ShardSet, row: int, audio: Tensor, means: Tensor, form: LatentFormat) -> dict[str, object]:
    """Return key, KEY.npy and KEY.json of one clip: audio [A, S] and its latents [F', C]."""
    clip = shards.rows[row].clip
    kept = means[: num_frames(audio.shape[-1], form.hop) + SPARE_FRAMES].numpy()
    if not np.abs(kept).max() <= np.finfo(np.float16).max:  # not: so that NaN is refused as well
        where = f"{shards.paths[0]}: {clip.key}"
        raise DataError("The VAE makes latents that float16 does not hold", where=where, hint="listen to this clip")
    record = shards.record(row) | {
        "duration": round(clip.seconds, 6),
        "sample_rate": clip.sample_rate,
        "channels": clip.channels,
        "latents": form.describe(num_samples=audio.shape[-1], level_dbfs=level_dbfs(audio)),
    }
    line = json.dumps(record, ensure_ascii=False, sort_keys=True, allow_nan=False)
    return {"__key__": clip.key, LATENT_EXTENSION: to_npy(kept), "json": line.encode("utf-8")}


def _write(target: Path, source: ShardIndex, members: list[dict[str, object]]) -> None:
    """Write a latent shard, then its index: a shard with an index is finished."""
    from webdataset import TarWriter

    buffer = io.BytesIO()
    with TarWriter(buffer, encoder=False, user="audiocalm", group="audiocalm", mtime=0) as writer:
        for member in members:
            writer.write(member)
    write_bytes(target, buffer.getvalue())
    result = scan(target, examine=_no_audio)
    if result.problems:
        raise DataError(f"The shard just written is not sound: {result.problems[0].reason}", where=target)
    save_index(target, replace(result.index, source_crc32=source.crc32))


def _no_audio(data: bytes, where: object):
    raise DataError("There is audio in a shard of latents", where=where)


def _counter(progress: Progress | None, done: int, total: int) -> Callable[[str], None]:
    count = done

    def told(name: str) -> None:
        nonlocal count
        count += 1
        _tell(progress, count, total, name)

    return told


def _tell(progress: Progress | None, done: int, total: int, name: str) -> None:
    if progress is not None:
        progress(done, total, name)
