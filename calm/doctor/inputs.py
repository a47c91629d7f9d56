"""Can model and shards be opened at all, and can the shards be shared among the ranks?"""

from __future__ import annotations

from collections.abc import Iterator

from calm.data.shards import find_shards
from calm.doctor.case import Case
from calm.doctor.finding import Finding, Level
from calm.errors import ConfigError
from calm.types import Task

__all__ = ["check_inputs"]


def check_inputs(case: Case) -> Iterator[Finding]:
    """Everything that the configuration names is there; batch and shards suffice for the ranks and their workers."""
    for name, thing in (("model", case.root), ("data.train", case.train), ("data.validation", case.validation)):
        if thing is not None:
            size = f"{len(thing.rows)} clips in {len(thing.paths)} shards" if name.startswith("data") else ""
            yield Finding(level=Level.OK, what="Found", where=name, value=size or type(thing).__name__)
    for name, error in case.problems.items():
        yield Finding.of_error(error, where=name)
    if not case.config.data.validation:
        hint = "set data.validation to a folder of held-out shards"
        yield Finding(level=Level.WARNING, what="Nothing is validated on", where="data.validation", hint=hint)
    yield from _apart(case)
    yield from _batch(case)
    yield from _for_workers(case)
    yield from _cut_speech(case)


def _apart(case: Case) -> Iterator[Finding]:
    """Held-out shards are no shards of the training."""
    if case.train is None or case.validation is None:
        return
    shared = {path.resolve() for path in case.train.paths} & {path.resolve() for path in case.validation.paths}
    if shared:
        yield Finding(
            level=Level.WARNING,
            what="Validation is on clips of the training",
            where="data.validation",
            value=f"{len(shared)} of {len(case.validation.paths)} shards",
            hint="keep some clips apart: what was learned by heart looks right here",
        )


def _batch(case: Case) -> Iterator[Finding]:
    size, world = case.config.data.batch_size, case.world_size
    if size % world:
        yield Finding(
            level=Level.ERROR,
            what=f"A global batch of {size} clips cannot be shared by {world} ranks",
            where="data.batch_size",
            value=f"{size} / {world}",
            hint=f"set data.batch_size to a multiple of {world}",
        )
    try:
        if case.budget is not None:
            case.budget.check_ranks(world)
    except ConfigError as error:
        yield Finding.of_error(error, where="data.max_frames_per_batch")


def _for_workers(case: Case) -> Iterator[Finding]:
    """With indexes every rank reads every shard, so clips must suffice; a stream wants a shard for each reader."""
    workers = max(1, case.config.data.num_workers)
    readers = case.world_size * workers
    value = f"{case.world_size} ranks x {workers} workers"
    if case.train is not None:
        fits = len(case.train.rows) >= case.clips_per_batch
        yield Finding(
            level=Level.OK if fits else Level.WARNING,
            what="Every worker reads from every shard" if fits else "There are fewer clips than a batch holds",
            where="data.train",
            value=f"{value}, {len(case.train.paths)} shards, {len(case.train.rows)} clips",
            hint="" if fits else "pack more clips, or lower data.batch_size: clips come up twice in one batch",
        )
    elif not case.is_planned and "://" not in case.config.data.train_urls:
        count = len(find_shards(case.config.data.train_urls))
        yield Finding(
            level=Level.OK if count >= readers else Level.WARNING,
            what=f"{count} shards are streamed by {readers} readers",
            where="data.train",
            value=value,
            hint="" if count >= readers else "pack into more shards, or lower data.num_workers: readers share shards",
        )


def _cut_speech(case: Case) -> Iterator[Finding]:
    """A transcript is never cut: of a clip that is, the model learns to leave out the end of what it is to say."""
    if case.generator is None or case.train is None:
        return
    most, rows = case.config.data.max_seconds, case.train.by_task[Task.SPEECH]
    longer = sum(case.train.rows[row].clip.seconds > most for row in rows)
    if longer:
        yield Finding(
            level=Level.WARNING,
            what="Spoken clips are cut at their end, but keep all their words",
            where="data.max_seconds",
            value=f"{longer} of {len(rows)} are longer than {most:g} s",
            hint="split these recordings by sentences, or raise data.max_seconds",
        )
