"""Verify shards: what they hold in all, and every problem with its file and key."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from calm import audio
from calm.data.index import Clip, ShardIndex, index_path, read_index, save_index
from calm.data.scan import Problem, Scan, scan
from calm.data.shards import find_shards, read_span
from calm.data.transcode import verify_audio
from calm.errors import DataError
from calm.types import Task

__all__ = ["CheckReport", "check", "write_index"]


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What the shards hold; ``problems`` is empty where all is well. Seconds and clips count whole clips only.

    ``vaes`` are the hashes of the VAEs whose latents the shards hold; empty for audio.
    """

    shards: int
    clips: int
    seconds: dict[str, float]
    clips_by_task: dict[str, int]
    sample_rates: dict[int, int]
    channels: dict[int, int]
    speakers: tuple[str, ...]
    vaes: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def hours(self) -> dict[str, float]:
        """Hours per task."""
        return {task: seconds / 3600 for task, seconds in self.seconds.items()}

    def __str__(self) -> str:
        """Return a table for a person, and every problem in a line of its own."""
        lines = [f"{self.shards} shards, {self.clips} clips, {sum(self.hours.values()):.3f} h"]
        lines += [f"  {task:<8}{self.clips_by_task[task]:>8} clips {self.hours[task]:>10.4f} h" for task in self.seconds]
        lines.append("  sample rates  " + ", ".join(f"{rate} Hz: {n}" for rate, n in self.sample_rates.items()))
        lines.append("  channels      " + ", ".join(f"{n} with {c}" for c, n in self.channels.items()))
        shown = ", ".join(self.speakers[:10]) + (", ..." if len(self.speakers) > 10 else "")
        lines.append(f"  speakers      {len(self.speakers)}" + (f" ({shown})" if shown else ""))
        lines += [f"  latents of VAE {vae}" for vae in self.vaes]
        lines.append("  no problems" if self.ok else f"  {len(self.problems)} problems:")
        lines += [f"    {p.shard}{f': {p.key}' if p.key else ''}: {p.reason}" for p in self.problems]
        return "\n".join(lines)


def check(out: str | Path, *, progress: Callable[[int, int, str], None] | None = None) -> CheckReport:
    """Read and decode every byte of the shards under ``out`` (a folder with its subfolders, or one shard).

    Args:
        progress: called after every shard with (shards done, shards in all, name).
    """
    shards = find_shards(out, recursive="**/")
    clips: list[Clip] = []
    problems: list[Problem] = []
    vaes: set[str] = set()
    for number, shard in enumerate(shards, start=1):
        result = scan(shard, examine=verify_audio)
        clips += result.index.clips
        vaes |= {result.index.latents.vae} if result.index.latents else set()
        problems += _unique([*result.problems, *_against_index(shard, result)])
        if progress is not None:
            progress(number, len(shards), shard.name)
    seconds: Counter[str] = Counter()
    for clip in clips:
        seconds[clip.task] += clip.seconds
    by_task = Counter(clip.task for clip in clips)
    return CheckReport(
        shards=len(shards),
        clips=len(clips),
        seconds={str(t): seconds[t] for t in Task if t in seconds},
        clips_by_task={str(t): by_task[t] for t in Task if t in by_task},
        sample_rates=dict(sorted(Counter(clip.sample_rate for clip in clips).items())),
        channels=dict(sorted(Counter(clip.channels for clip in clips).items())),
        speakers=tuple(sorted({clip.speaker for clip in clips if clip.speaker})),
        vaes=tuple(sorted(vaes)),
        problems=tuple(problems),
    )


def write_index(shard: str | Path) -> Path:
    """Write the index of a shard that has none, or one that was rewritten; refuses a shard with any problem."""
    shard = Path(shard)
    result = scan(shard, examine=lambda data, where: audio.info(data, where=where))
    if result.problems:
        first = result.problems[0]
        raise DataError(
            f"The shard is not sound: {first.reason}",
            where=f"{shard}: {first.key}" if first.key else shard,
            hint=f"calm shards check {shard.parent} lists all problems",
        )
    return save_index(shard, result.index)


def _against_index(shard: Path, result: Scan) -> list[Problem]:
    """Compare what was found with what the index says; the index also names clips behind a damaged header."""
    found: list[Problem] = []

    def report(key: str | None, reason: str) -> None:
        found.append(Problem(shard=shard.name, key=key, reason=reason))

    try:
        index = read_index(shard)
    except DataError as error:
        report(None, f"{error.what} ({index_path(shard).name})")
        return found
    if index.num_bytes != result.index.num_bytes:
        report(None, f"the shard has {result.index.num_bytes:,} bytes, its index says {index.num_bytes:,}")
    if index.latents != result.index.latents:
        report(None, "the index is stale: it says other things about the latents than the shard")
    _compare_clips(shard, result, index, report)
    if not found and not result.problems and index.crc32 != result.index.crc32:
        report(None, "bytes outside the clips differ from the index (crc32): a tar header or padding is damaged")
    return found


def _compare_clips(shard: Path, result: Scan, index: ShardIndex, report: Callable[[str | None, str], None]) -> None:
    scanned = {clip.key: clip for clip in result.index.clips}
    with shard.open("rb") as file:
        for clip in index.clips:
            try:
                read_span(file.fileno(), clip.audio_offset, clip.audio_size, clip.audio_crc32, where="the audio")
                read_span(file.fileno(), clip.json_offset, clip.json_size, clip.json_crc32, where="KEY.json")
            except DataError as error:
                report(clip.key, f"{error.where}: {error.what}")
                continue
            if clip.key not in scanned:
                report(clip.key, "the index lists the clip, but it was not found whole in the shard")
            elif clip != scanned[clip.key]:
                report(clip.key, "the index is stale: it says other things about the clip than the shard")
    for key in scanned.keys() - {clip.key for clip in index.clips}:
        report(key, "the clip is not in the index")


def _unique(problems: list[Problem]) -> list[Problem]:
    """Keep the first problem of every key, and all that concern the shard as a whole."""
    keys: set[str] = set()
    kept = []
    for problem in problems:
        if problem.key is None or problem.key not in keys:
            kept.append(problem)
            keys.add(problem.key or os.devnull)
    return kept
