"""Which clips a listener hears, in which order: balanced, spread, with attention checks among them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from calm.listening.records import ListeningTest, Stimulus

__all__ = ["PlannedTrial", "plan_session"]


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """One clip to hear. ``rated`` clips count; ``spoilt`` and ``repeat`` are attention checks."""

    stimulus: Stimulus
    kind: Literal["rated", "spoilt", "repeat"]


def plan_session(test: ListeningTest, *, counts: Mapping[str, int], rng: np.random.Generator) -> list[PlannedTrial]:
    """Return the trials of one listener, task after task.

    The clips that were rated least often come first into the choice, so that the counts of all clips differ by one at
    most while listeners finish. Among equals, items and systems that the session has least of, then chance.

    Args:
        counts: how often each clip is rated, or about to be, by its name; 0 where absent.
    """
    blocks: dict[str, list[Stimulus]] = defaultdict(list)
    for stimulus in _choose(test.rated, test.settings.items_per_listener, counts=counts, rng=rng):
        blocks[stimulus.task].append(stimulus)
    planned = [
        [PlannedTrial(stimulus=stimulus, kind="rated") for stimulus in _spread(block, rng)] for block in blocks.values()
    ]
    _add_checks(planned, test=test, rng=rng)
    return [trial for index in rng.permutation(len(planned)) for trial in planned[index]]


def _choose(
    stimuli: Sequence[Stimulus], number: int, *, counts: Mapping[str, int], rng: np.random.Generator
) -> list[Stimulus]:
    lots = dict(zip((stimulus.name for stimulus in stimuli), rng.permutation(len(stimuli)), strict=True))
    items: Counter[str] = Counter()
    systems: Counter[tuple[str, str | None]] = Counter()
    left, chosen = list(stimuli), []
    while left and len(chosen) < number:
        best = min(
            left,
            key=lambda s: (counts.get(s.name, 0), items[s.item], systems[s.task, s.system], lots[s.name]),
        )
        left.remove(best)
        chosen.append(best)
        items[best.item] += 1
        systems[best.task, best.system] += 1
    return chosen


def _spread(block: Sequence[Stimulus], rng: np.random.Generator) -> list[Stimulus]:
    """Order clips at random, with the m clips of one item an m-th of the block apart."""
    groups: dict[str, list[Stimulus]] = defaultdict(list)
    for index in rng.permutation(len(block)):
        groups[block[index].item].append(block[index])
    placed = []
    for group in groups.values():
        start = rng.random()
        placed += [((start + number) / len(group), stimulus) for number, stimulus in enumerate(group)]
    return [stimulus for _, stimulus in sorted(placed, key=lambda pair: pair[0])]


def _add_checks(blocks: list[list[PlannedTrial]], *, test: ListeningTest, rng: np.random.Generator) -> None:
    """Insert spoilt clips and repetitions by turns, the longest blocks first."""
    longest = sorted(blocks, key=len, reverse=True)
    used: set[str] = set()
    for number in range(test.settings.num_checks):
        block = longest[number // 2 % len(longest)]
        add = _add_repeat if number % 2 else _add_spoilt
        add(block, test=test, used=used, rng=rng)


def _add_spoilt(block: list[PlannedTrial], *, test: ListeningTest, used: set[str], rng: np.random.Generator) -> None:
    """Put a spoilt clip behind the first third, where it is no listener's first; its item is a fresh one if possible."""
    heard = {trial.stimulus.item for trial in block}
    found = [stimulus for stimulus in test.spoilt if stimulus.task == block[0].stimulus.task]
    if not found:
        return
    order = [found[index] for index in rng.permutation(len(found))]
    chosen = min(order, key=lambda stimulus: (stimulus.name in used, stimulus.item in heard))
    used.add(chosen.name)
    place = int(rng.integers(max(1, len(block) // 3), len(block) + 1))
    block.insert(place, PlannedTrial(stimulus=chosen, kind="spoilt"))


def _add_repeat(block: list[PlannedTrial], *, test: ListeningTest, used: set[str], rng: np.random.Generator) -> None:
    """Play a clip of the first half again in the last quarter."""
    early = [trial for trial in block[: max(1, len(block) // 2)] if trial.kind == "rated"]
    fresh = [trial for trial in early if trial.stimulus.name not in used]
    if not fresh:
        return
    chosen = fresh[int(rng.integers(len(fresh)))].stimulus
    used.add(chosen.name)
    place = int(rng.integers(-(-3 * len(block) // 4), len(block) + 1))
    block.insert(place, PlannedTrial(stimulus=chosen, kind="repeat"))
