"""Audio shards -> latent shards: the same clips, texts and keys, with KEY.npy in place of the audio."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from calm.audio import fit, level_dbfs
from calm.data.collate import convert
from calm.data.derive import find_jobs, is_finished, write_shard
from calm.data.latents import LATENT_EXTENSION, SPARE_FRAMES, LatentFormat, num_frames, to_npy
from calm.data.shards import ShardSet
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
    jobs = find_jobs(spec, out, rank=rank, world_size=world_size)
    total = sum(len(job.index.clips) for job in jobs)
    written, kept, done, clips, seconds = [], [], 0, 0, 0.0
    for job in jobs:
        index = job.index
        if is_finished(job, latents=encoder.form):
            kept.append(job.target)
            done += len(index.clips)
            _tell(progress, done, total, job.target.name)
            continue
        members = dict(_encoded(job.source, encoder, batch_seconds=batch_seconds, told=_counter(progress, done, total)))
        write_shard(job, (members[row] for row in range(len(index.clips))), examine=_no_audio)
        written.append(job.target)
        done += len(index.clips)
        clips += len(index.clips)
        seconds += sum(clip.seconds for clip in index.clips)
    return EncodeReport(out=out, written=tuple(written), kept=tuple(kept), clips=clips, seconds=seconds)


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
