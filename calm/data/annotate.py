"""Audio shards -> the same shards with more in their records: attributes by signal analysis, and other wordings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calm import audio
from calm.audio import write_bytes
from calm.data.derive import find_jobs, is_finished, write_shard
from calm.data.rewrite import Endpoint, Rewriter
from calm.data.scan import Problem
from calm.data.shards import ShardSet
from calm.errors import DataError, InputError
from calm.text import analyse
from calm.text.attributes import LOUDNESS_SECONDS

__all__ = ["ANSWERS", "AnnotateReport", "annotate_shards"]

#: in OUT: what was chosen, so that one folder is not made in two ways; and the answers of the endpoint
CHOICES, ANSWERS = "annotation.json", "rewrites.jsonl"
#: raised whenever a measure or a bin changes
ANALYSIS_VERSION = 1

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class AnnotateReport:
    """Shards written now and kept from before; of the clips written, how many got each attribute or a wording.

    ``failures`` are the clips for which the endpoint had no usable answer.
    """

    out: Path
    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    clips: int
    added: dict[str, int]
    rewritten: int
    failures: tuple[Problem, ...]

    @property
    def failure_rate(self) -> float:
        """Failures per clip that was asked for; 0 where none was."""
        return len(self.failures) / max(1, len(self.failures) + self.rewritten)


def annotate_shards(
    spec: str | Path, out: str | Path, *, endpoint: Endpoint | None = None, progress: Progress | None = None
) -> AnnotateReport:
    """Write every shard of ``spec`` under ``out``, same name, same audio, with measured attributes in KEY.json.

    What a record says already stays as it is. With an ``endpoint`` each clip that has no rewriting yet gets one more
    wording. Run again after an interruption, finished shards are kept, and no question is asked twice.

    Args:
        spec: a folder (with its subfolders), a shard or a glob; several joined by commas.
        progress: called after every clip measured, and after every shard kept.
    Raises DataError (a clip cannot be read) or InputError (arguments; ``out`` holds something else; the endpoint).
    """
    out = Path(out)
    jobs = find_jobs(spec, out)
    _agree_on_choices(out, endpoint)
    rewriter = None if endpoint is None else Rewriter(endpoint, cache=out / ANSWERS)
    total = sum(len(job.index.clips) for job in jobs)
    written, kept, done, clips, rewritten = [], [], 0, 0, 0
    added: Counter[str] = Counter()
    failures: list[Problem] = []
    for job in jobs:
        if is_finished(job):
            kept.append(job.target)
            done += len(job.index.clips)
            _tell(progress, done, total, job.target.name)
            continue
        shards = ShardSet([job.source])
        records = []
        for row in range(len(shards)):
            record, new = _measured(shards, row)
            records.append(record)
            added.update(new)
            done += 1
            _tell(progress, done, total, shards.rows[row].clip.key)
        if rewriter is not None:
            before = sum("rewritten_by" in record for record in records)
            records, failed = rewriter(records)
            rewritten += sum("rewritten_by" in record for record in records) - before
            failures += [_problem(shards, failure.number, failure.reason) for failure in failed]
        write_shard(job, _members(shards, records), examine=_header)
        shards.close()
        written.append(job.target)
        clips += len(records)
    return AnnotateReport(
        out=out,
        written=tuple(written),
        kept=tuple(kept),
        clips=clips,
        added=dict(added),
        rewritten=rewritten,
        failures=tuple(failures),
    )


def _agree_on_choices(out: Path, endpoint: Endpoint | None) -> None:
    """Note what this folder is made with; raises InputError where it was begun with something else."""
    choices = {"analysis": ANALYSIS_VERSION, "rewritten_by": endpoint.model if endpoint else None}
    path = out / CHOICES
    if not path.exists():
        write_bytes(path, (json.dumps(choices, indent=2) + "\n").encode())
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"The folder's choices cannot be read ({error})", where=path, hint="choose another OUT") from error
    if found != choices:
        raise InputError(
            f"OUT was begun with {found}, now asked for {choices}", where=path, hint="choose another folder"
        )


def _measured(shards: ShardSet, row: int) -> tuple[dict[str, Any], list[str]]:
    """Return the record with what could be measured, and the names of that."""
    sample, record = shards.read(row, max_seconds=LOUDNESS_SECONDS), shards.record(row)
    found = analyse(sample.task, sample.waveform, sample.text, known=sample.attributes)
    attributes = {**found, **record.get("attributes", {})}
    return record | ({"attributes": attributes} if attributes else {}), list(found)


def _members(shards: ShardSet, records: Sequence[dict[str, Any]]) -> Iterator[dict[str, object]]:
    for row, record in enumerate(records):
        clip = shards.rows[row].clip
        line = json.dumps(record, ensure_ascii=False, sort_keys=True, allow_nan=False)
        yield {"__key__": clip.key, clip.extension: shards.audio_bytes(row), "json": line.encode("utf-8")}


def _problem(shards: ShardSet, row: int, reason: str) -> Problem:
    return Problem(shard=shards.paths[0].name, key=shards.rows[row].clip.key, reason=reason)


def _header(data: bytes, where: object) -> audio.AudioInfo:
    return audio.info(data, where=where)


def _tell(progress: Progress | None, done: int, total: int, name: str) -> None:
    if progress is not None:
        progress(done, total, name)
