"""Does every phase of the curriculum find clips of what it draws?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from calm.data.shards import ShardSet
from calm.doctor.case import Case
from calm.doctor.finding import Finding, Level
from calm.types import TASKS, Task

__all__ = ["MANY_EPOCHS", "check_shares"]

#: a clip that is drawn more often than this in one phase is learned by heart
MANY_EPOCHS = 200


def check_shares(case: Case) -> Iterator[Finding]:
    """Clips, hours and repetitions by phase and task; phases that are never reached; tasks that are not validated."""
    reached = [phase for phase, _, _ in case.phases]
    for phase in case.config.curriculum.phases:
        if phase not in reached:
            yield Finding(
                level=Level.WARNING,
                what=f"Phase '{phase.name}' is never reached",
                where="curriculum.phases",
                value=f"trainer.max_steps = {case.config.trainer.max_steps}",
                hint="raise trainer.max_steps, or end the phases before it earlier",
            )
    if case.train is not None:
        for phase, first, last in case.phases:
            for task in TASKS:
                if phase.task_weights.get(str(task), 0.0) > 0:
                    yield _share(case, phase, task, steps=last - first)
        yield from _sources(case)
    if case.validation is not None:
        yield from _validated(case)


def _share(case: Case, phase, task: Task, *, steps: int) -> Finding:
    limit = phase.max_clip_seconds.get(str(task))
    seconds = _seconds(case.train, task, limit)
    where = f"phase '{phase.name}', {task}"
    if not seconds:
        short = f" of at most {limit:g} s" if limit is not None else ""
        hint = f"add clips, or set the weight of {task} to 0 in curriculum.phases"
        return Finding(
            level=Level.ERROR, what=f"No clip of {task}{short}", where=where, value=case.config.data.train_urls, hint=hint
        )
    share = phase.task_weights[str(task)] / sum(phase.task_weights.values())
    draws = steps * case.clips_per_batch * case.config.trainer.grad_accum_steps * share
    epochs = draws / len(seconds)
    many = epochs > MANY_EPOCHS
    return Finding(
        level=Level.WARNING if many else Level.OK,
        what="Every clip is drawn very often" if many else "Clips are there",
        where=where,
        value=f"{len(seconds)} clips, {sum(seconds) / 3600:.2f} h, each drawn {epochs:.3g} times",
        hint="add clips, shorten the phase, or stop where the validation error rises" if many else "",
    )


def _sources(case: Case) -> Iterator[Finding]:
    """Which sources a task is drawn from, by name."""
    sources = case.config.data.sources
    for task in case.trained_tasks if sources else ():
        counts = Counter(case.source_of[row] for row in case.train.by_task[task])
        total = sum(sources[number].weight for number in counts)
        shown = [
            f"{sources[number].name} {sources[number].weight / total:.0%} ({count} clips)" for number, count in sorted(counts.items())
        ]
        yield Finding(level=Level.OK, what=f"Sources of {task}", where="data.sources", value=", ".join(shown))


def _seconds(shards: ShardSet, task: Task, limit: float | None) -> Sequence[float]:
    clips = [shards.rows[row].clip.seconds for row in shards.by_task[task]]
    return [seconds for seconds in clips if limit is None or seconds <= limit]


def _validated(case: Case) -> Iterator[Finding]:
    for task in case.trained_tasks:
        if not case.validation.by_task[task]:
            yield Finding(
                level=Level.WARNING,
                what=f"{task} is trained, but not validated",
                where="data.validation",
                hint=f"put held-out clips of {task} into the validation shards",
            )
