"""What a corpus is to hold: which arguments are accepted, and how the seconds are shared out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from calm.corpus.clip import SCENE_SHARES, ClipPlan
from calm.corpus.sentences import SPLITS
from calm.errors import InputError
from calm.types import TASKS

__all__ = ["MIN_SECONDS", "SPLIT_SHARES", "TASK_SHARES", "check_arguments", "share_targets"]

MIN_SECONDS = 30.0
TASK_SHARES: Mapping[str, float] = {"speech": 0.5, "sound": 0.25, "music": 0.25}
SPLIT_SHARES: Mapping[str, float] = {"train": 0.9, "validation": 0.05, "test": 0.05}


def check_arguments(plan: ClipPlan, seconds: float, num_workers: int) -> None:
    """Raise InputError for the first argument of ``generate_corpus`` that is not accepted."""

    def check(accepted: bool, name: str, value: object, allowed: str) -> None:
        if not accepted:
            raise InputError(f"`{name}` is {value!r}", where="generate_corpus", allowed=allowed)

    check(
        MIN_SECONDS <= seconds < 1e8,
        "seconds",
        seconds,
        f"at least {MIN_SECONDS:g}: every split has clips of every task",
    )
    check(isinstance(plan.seed, int) and plan.seed >= 0, "seed", plan.seed, "an integer from 0 on")
    check(8_000 <= plan.sample_rate <= 48_000, "sample_rate", plan.sample_rate, "8000..48000 Hz")
    check(2 <= plan.words[0] <= plan.words[1] >= 3, "words", plan.words, "(fewest, most), from 2 on")
    for name in ("sound_seconds", "music_seconds"):
        shortest, longest = getattr(plan, name)
        check(1 <= shortest <= longest <= 60, name, (shortest, longest), "(shortest, longest) within 1..60 seconds")
    _check_shares("scene_shares", plan.scene_shares, list(SCENE_SHARES))
    check(num_workers >= 1, "num_workers", num_workers, "an integer from 1 on")


def share_targets(
    seconds: float, task_shares: Mapping[str, float], split_shares: Mapping[str, float]
) -> dict[tuple[str, str], float]:
    """Return the wanted seconds of every (task, split), splits in their order."""
    _check_shares("task_shares", task_shares, [str(task) for task in TASKS])
    _check_shares("split_shares", split_shares, list(SPLITS))
    whole = sum(task_shares.values()) * sum(split_shares.values())
    return {
        (str(task), split): seconds * task_shares[task] * split_shares[split] / whole
        for split in SPLITS
        for task in TASKS
        if task_shares.get(task, 0) > 0 and split_shares.get(split, 0) > 0
    }


def _check_shares(name: str, shares: Mapping[str, float], known: Sequence[str]) -> None:
    if not set(shares) <= set(known) or min(shares.values(), default=0) < 0 or sum(shares.values()) <= 0:
        raise InputError(
            f"`{name}` is {dict(shares)!r}", where="generate_corpus", allowed=f"shares from 0 on of {', '.join(known)}"
        )
