"""Manifest or public set -> WebDataset shards with an index beside each. Either all of it appears under OUT, or nothing."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from calm import audio
from calm.data.importers import Listing, ManifestEntry, read_source
from calm.data.index import save_index
from calm.data.layouts import LeftOut
from calm.data.scan import scan
from calm.data.transcode import FlacClip, to_flac
from calm.errors import CalmError, DataError, InputError
from calm.types import Task

__all__ = ["PackReport", "pack"]

#: called with (clips done, clips in all, name of the clip)
Progress = Callable[[int, int, str], None]
# ustar holds names of 100 bytes without a prefix field; ".flac" and a counter go on top.
MAX_KEY = 80


@dataclass(frozen=True, kw_only=True)
class PackReport:
    """What was written: shards in order, clips and seconds by task, and every file that was left out.

    ``layout`` is how the source was read: "manifest", or the name of a public set's layout.
    """

    out: Path
    layout: str
    shards: tuple[Path, ...]
    clips: int
    seconds: dict[str, float]
    clipped: tuple[str, ...]
    problems: tuple[LeftOut, ...]

    def __str__(self) -> str:
        """Return a few lines for a person."""
        lines = [f"{self.out}: {self.clips} clips in {len(self.shards)} shards"]
        lines += [f"  {task:<8}{seconds:>12,.1f} s" for task, seconds in self.seconds.items()]
        lines += [f"  cut to full scale: {name}" for name in self.clipped]
        lines += [f"  left out: {problem.where}: {problem.reason}" for problem in self.problems]
        return "\n".join(lines)


def pack(
    src: str | Path,
    out: str | Path,
    *,
    task: str | None = None,
    layout: str | None = None,
    name: str | None = None,
    samples_per_shard: int = 1000,
    shard_megabytes: float = 500.0,
    on_error: Literal["stop", "skip"] = "stop",
    outside: Literal["refuse", "allow"] = "refuse",
    seed: int = 0,
    progress: Progress | None = None,
) -> PackReport:
    """Write the clips of ``src`` as shards ``NAME-000000.tar`` under ``out``; same input, same bytes.

    A source with splits (a public set's, or folders ``train/``, ``validation/``, each with a manifest) becomes
    ``out/<split>/``.

    Args:
        src: folder, manifest or table, see ``read_source``. out: a folder that is absent or empty.
        task: task of rows that name none. layout: how the source lies, found by default.
        name: first part of the shards' names; by default the name of ``out`` or of the split.
        samples_per_shard, shard_megabytes: a shard is closed when it reaches either.
        on_error: ``stop`` at the first unreadable file, or ``skip`` it, and list it in ``problems.jsonl``. What a
            public set names and is not there is always left out and listed: few have every file of such a set.
        outside: whether audio may lie outside the manifest's folder.
        seed: of the order of the clips: shards that mix tasks and speakers stream better.
        progress: called after every clip.
    Raises DataError (manifest, audio, disk) or InputError (arguments). Then nothing is left under ``out``.
    """
    _check_arguments(samples_per_shard, shard_megabytes, on_error)
    out = Path(out)
    listing = read_source(src, task=task, layout=layout, outside=outside)
    splits = dict.fromkeys(entry.split for entry in listing.entries)
    entries = {split: _shuffled([e for e in listing.entries if e.split == split], seed) for split in splits}
    log = _Log(listing=listing, on_error=on_error, progress=progress)
    with _new_folder(out) as partial:
        for split, group in entries.items():
            stem = _safe(name or split or out.resolve().name)
            _pack_split(group, partial / split, stem, samples_per_shard, shard_megabytes * 1e6, log)
        log.close(partial, where=src)
    return PackReport(
        out=out,
        layout=listing.layout,
        shards=tuple(out / shard.relative_to(partial) for shard in log.shards),
        clips=log.clips,
        seconds={str(t): log.seconds[t] for t in Task if t in log.seconds},
        clipped=tuple(log.clipped),
        problems=tuple(log.problems),
    )


def _check_arguments(samples_per_shard: int, shard_megabytes: float, on_error: str) -> None:
    if samples_per_shard < 1 or shard_megabytes <= 0:
        raise InputError("A shard needs room for a clip", where="samples_per_shard, shard_megabytes", allowed="1 or more")
    if on_error not in ("stop", "skip"):
        raise InputError(f"Unknown on_error '{on_error}'", allowed=["stop", "skip"])


class _Log:
    """Counts what was packed and what was left out."""

    def __init__(self, *, listing: Listing, on_error: str, progress: Progress | None) -> None:
        self.total, self.on_error, self.progress = len(listing.entries), on_error, progress
        self.done = self.clips = 0
        self.seconds: Counter[str] = Counter()
        self.shards: list[Path] = []
        self.clipped: list[str] = []
        self.problems: list[LeftOut] = list(listing.left_out)

    def read(self, entry: ManifestEntry) -> FlacClip | None:
        """Return the entry's audio, or None where it is to be skipped."""
        clip = None
        try:
            clip = to_flac(entry.path, where=entry.where)
            self.clips += 1
            self.seconds[entry.task] += clip.info.seconds
            self.clipped += [entry.name] if clip.clipped else []
        except DataError as error:
            if self.on_error == "stop":
                raise DataError(
                    error.what,
                    where=error.where,
                    allowed=error.allowed,
                    hint="mend or remove the file, or leave such files out with --on-error skip",
                ) from error
            self.problems.append(LeftOut(file=entry.name, where=entry.where, reason=error.what))
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total, entry.name)
        return clip

    def close(self, folder: Path, *, where: object) -> None:
        """List what was left out; raises DataError where nothing is left."""
        if not self.clips:
            reason = f"the first of {len(self.problems)} that were left out: {self.problems[0].reason}"
            raise DataError("No clip could be packed", where=where, hint=reason)
        if self.problems:
            lines = "".join(json.dumps(vars(problem), ensure_ascii=False) + "\n" for problem in self.problems)
            (folder / "problems.jsonl").write_text(lines, encoding="utf-8")


def _pack_split(
    entries: Sequence[ManifestEntry], folder: Path, stem: str, max_clips: int, max_bytes: float, log: _Log
) -> None:
    from webdataset import TarWriter

    folder.mkdir(parents=True, exist_ok=True)
    keys: set[str] = set()
    clips = ((entry, clip) for entry in entries if (clip := log.read(entry)) is not None)
    pending = next(clips, None)
    number = 0
    while pending is not None:
        shard = folder / f"{stem}-{number:06d}.tar"
        count = size = 0
        with shard.open("wb") as file:
            # Fixed owner, mode and time: same clips, same bytes.
            with TarWriter(file, encoder=False, user="audiocalm", group="audiocalm", mtime=0) as writer:
                while pending is not None and count < max_clips and size < max_bytes:
                    entry, clip = pending
                    record = json.dumps(_record(entry, clip), ensure_ascii=False, sort_keys=True, allow_nan=False)
                    key = _unique(_safe(Path(entry.name).with_suffix("").as_posix()), keys)
                    size += writer.write({"__key__": key, "flac": clip.data, "json": record.encode("utf-8")})
                    count += 1
                    pending = next(clips, None)
            file.flush()
            os.fsync(file.fileno())
        result = scan(shard, examine=lambda data, where: audio.info(data, where=where))
        if result.problems:
            raise DataError(f"The shard just written is not sound: {result.problems[0].reason}", where=shard)
        save_index(shard, result.index)
        log.shards.append(shard)
        number += 1


def _record(entry: ManifestEntry, clip: FlacClip) -> dict[str, Any]:
    """Return the KEY.json of an entry, see calm.data.schema."""
    record: dict[str, Any] = {
        "task": str(entry.task),
        "text" if entry.task == Task.SPEECH else "caption": entry.text,
        "duration": round(clip.info.seconds, 6),
        "sample_rate": clip.info.sample_rate,
        "channels": clip.info.channels,
        "speaker": entry.speaker,
        "language": entry.language,
        "attributes": entry.attributes,
        "wordings": list(entry.wordings),
        "source": entry.name,
    }
    return {key: value for key, value in record.items() if value not in (None, {}, [])}


def _shuffled(entries: list[ManifestEntry], seed: int) -> list[ManifestEntry]:
    order = np.random.default_rng(seed).permutation(len(entries))
    return [entries[i] for i in order]


def _safe(name: str) -> str:
    """Return ``name`` with only letters, digits, '-' and '_': a key's first dot ends it, a slash makes folders."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[-MAX_KEY:].strip("_") or "clip"


def _unique(key: str, taken: set[str]) -> str:
    candidate, number = key, 1
    while candidate in taken:
        number += 1
        candidate = f"{key}_{number}"
    taken.add(candidate)
    return candidate


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``out`` that takes its name at the end, or vanishes on any error or Ctrl-C."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("The output exists and is not empty", where=out, hint="choose another folder or remove this one")
    partial = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
        partial.chmod(0o755)
        yield partial
        os.replace(partial, out)
        partial = None
    except OSError as error:
        if isinstance(error, CalmError):
            raise
        space = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = "No space left for the shards" if space else f"The shards cannot be written ({error})"
        raise DataError(what, where=out, hint="free some space or choose another folder; nothing was left") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
