"""`generate_corpus`: plan the shares, render the clips, write them in AudioFolder layout."""

from __future__ import annotations

import errno
import json
import math
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from itertools import chain
from pathlib import Path
from string import Template

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from calm.corpus.clip import SCENE_SHARES, ClipPlan
from calm.corpus.instruments import INSTRUMENTS
from calm.corpus.plan import SPLIT_SHARES, TASK_SHARES, check_arguments, share_targets
from calm.corpus.render import Job, RenderedClip, render_job
from calm.corpus.scenes import KINDS
from calm.corpus.score import GENRES
from calm.corpus.sentences import load_grammar
from calm.corpus.speech import load_speakers
from calm.errors import DataError
from calm.types import Task

__all__ = ["CorpusSummary", "Share", "generate_corpus"]

_CLIPS_PER_JOB = 8
_GUESSED_SECONDS = 4.0  # of a clip, until the first one is there
_BYTES_PER_SAMPLE = 1.6  # FLAC of this corpus, measured, rounded up

_Map = Callable[[Callable[[Job], list[RenderedClip]], Iterable[Job]], Iterable[list[RenderedClip]]]


@dataclass(frozen=True, kw_only=True)
class Share:
    """What was written for one task and split."""

    task: Task
    split: str
    clips: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class CorpusSummary:
    """What ``generate_corpus`` wrote."""

    path: Path
    seed: int
    sample_rate: int
    shares: tuple[Share, ...]

    @property
    def clips(self) -> int:
        return sum(share.clips for share in self.shares)

    @property
    def seconds(self) -> float:
        return sum(share.seconds for share in self.shares)


def generate_corpus(
    out: str | Path,
    *,
    seconds: float,
    seed: int,
    sample_rate: int = 16_000,
    words: tuple[int, int] = (3, 12),
    sound_seconds: tuple[float, float] = (2.0, 8.0),
    music_seconds: tuple[float, float] = (4.0, 10.0),
    task_shares: Mapping[str, float] = TASK_SHARES,
    split_shares: Mapping[str, float] = SPLIT_SHARES,
    scene_shares: Mapping[str, float] = SCENE_SHARES,
    num_workers: int = 1,
    console: Console | None = None,
) -> CorpusSummary:
    """Write a mixed corpus of about ``seconds`` seconds to the new folder ``out``.

    Each task and split gets clips until its share is reached, at least one, so it overshoots by less than
    one clip; a share of 0 leaves a task or split out. The bytes depend on the arguments alone, not on
    ``num_workers``, the number of processes. ``out`` appears when everything is written; on an error
    or Ctrl-C nothing is left. ``words`` is the fewest and most words of a spoken sentence, ``sound_seconds``
    and ``music_seconds`` the shortest and longest clip; ``scene_shares`` are shares of the number of sound clips.
    Progress is shown on ``console`` (stderr by default).

    Raises:
        InputError: an argument is not accepted.
        DataError: ``out`` is in use or cannot be written, or eSpeak NG is missing.
    """
    out = Path(out)
    plan = ClipPlan(
        seed=seed, sample_rate=sample_rate, words=words, sound_seconds=sound_seconds, music_seconds=music_seconds,
        scene_shares=dict(scene_shares),
    )  # fmt: skip
    check_arguments(plan, seconds, num_workers)
    targets = share_targets(seconds, task_shares, split_shares)
    _check_folder(out, needed_bytes=int(seconds * sample_rate * _BYTES_PER_SAMPLE))
    with _new_folder(out) as folder, _workers(num_workers) as (run, wave), _progress(console) as progress:
        bar = progress.add_task("corpus", total=sum(targets.values()))
        shares = tuple(
            _write_share(
                folder / split, plan, Task(task), split, target, run=run, wave=wave,
                advance=lambda done: progress.advance(bar, done),
            )
            for (task, split), target in targets.items()
        )  # fmt: skip
        summary = CorpusSummary(path=out, seed=seed, sample_rate=sample_rate, shares=shares)
        (folder / "README.md").write_text(_card(summary), encoding="utf-8")
    return summary


def _write_share(
    folder: Path,
    plan: ClipPlan,
    task: Task,
    split: str,
    target: float,
    *,
    run: _Map,
    wave: int,
    advance: Callable[[float], None],
) -> Share:
    """Append clips of one task to one split until they last ``target`` seconds."""
    (folder / task).mkdir(parents=True)
    clips, total = 0, 0.0
    with open(folder / "metadata.jsonl", "a", encoding="utf-8", newline="\n") as metadata:
        while total < target:
            mean = total / clips if clips else _GUESSED_SECONDS
            jobs = _next_jobs(plan, task, split, first=clips, missing=math.ceil((target - total) / mean), wave=wave)
            for clip in chain.from_iterable(run(render_job, jobs)):
                (folder / clip.metadata["file_name"]).write_bytes(clip.flac)
                metadata.write(json.dumps(clip.metadata) + "\n")
                clips += 1
                total += clip.metadata["duration"]
                advance(clip.metadata["duration"])
                if total >= target:
                    break
    return Share(task=task, split=split, clips=clips, seconds=round(total, 3))


def _next_jobs(plan: ClipPlan, task: Task, split: str, *, first: int, missing: int, wave: int) -> list[Job]:
    """Return at most ``wave`` jobs for the next clips; clips do not depend on how they are grouped."""
    size = min(_CLIPS_PER_JOB, math.ceil(missing / wave))
    return [
        Job(plan=plan, task=task, split=split, first=first + number * size, count=size)
        for number in range(min(wave, math.ceil(missing / size)))
    ]


@contextmanager
def _workers(num: int) -> Iterator[tuple[_Map, int]]:
    """Give a map function and how many jobs to hand to it at once."""
    if num == 1:
        yield map, 1
        return
    with multiprocessing.get_context("spawn").Pool(num, _ignore_interrupt) as pool:
        yield pool.imap, 2 * num


def _ignore_interrupt() -> None:
    # Ctrl-C reaches every process of the terminal; the parent alone answers it and ends the pool.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Give a temporary sibling of ``out`` that takes its name at the end, or vanishes on any error."""
    folder = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        folder.mkdir(parents=True)
        yield folder
        if out.exists():
            out.rmdir()
        os.replace(folder, out)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise DataError(
            "There is no space left on the disk"
            if full
            else f"The corpus cannot be written: {error.strerror or error}",
            where=out,
            hint="free some space, or ask for fewer seconds" if full else "choose a folder that you may write to",
        ) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _check_folder(out: Path, *, needed_bytes: int) -> None:
    if out.exists() and not out.is_dir():
        raise DataError("There is a file of this name", where=out, allowed="a new or empty folder")
    if out.exists() and any(out.iterdir()):
        raise DataError(
            "The folder is not empty",
            where=out,
            allowed="a new or empty folder",
            hint="choose another folder, or delete this one",
        )
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    free = shutil.disk_usage(parent).free
    if free < needed_bytes:
        raise DataError(
            f"The corpus needs about {needed_bytes / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free",
            where=out,
            hint="free some space, or ask for fewer seconds",
        )


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s of audio"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
        transient=True,
    )


def _card(summary: CorpusSummary) -> str:
    template = Template((resources.files("calm.corpus") / "card.md").read_text("utf-8"))
    return template.substitute(
        clips=f"{summary.clips:,}",
        minutes=f"{summary.seconds / 60:.1f}",
        sample_rate=summary.sample_rate,
        seed=summary.seed,
        table="\n".join(f"| {s.split} | {s.task} | {s.clips} | {s.seconds:.1f} |" for s in summary.shares),
        vocabulary=f"{len(load_grammar().vocabulary()):,}",
        speakers=len(load_speakers()),
        kinds=len(KINDS),
        genres=len(GENRES),
        instruments=len(INSTRUMENTS) + 1,
    )
