"""The plan: which clips make up the global batch of every step, as a pure function of seed and step."""

from __future__ import annotations

import bisect
import itertools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calm.data.batching import Batching
from calm.data.shares import Tally
from calm.errors import DataError
from calm.types import TASKS, Task

__all__ = ["Draw", "Plan", "generator"]

#: step -> weight of every task, not necessarily summing to 1
Weights = Callable[[int], Mapping[str, float]]
#: step -> seconds of the longest clip that may be drawn of a task; of a task that is not named, any
Longest = Callable[[int], Mapping[str, float]]
# States of every so many windows are kept, so that looking back costs at most this many windows.
KEPT_WINDOWS = 256


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Return the random generator of one decision; different purposes and numbers are independent."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *numbers])


@dataclass(frozen=True, slots=True)
class Draw:
    """The ``number``-th time (from 0) that ``task`` is drawn, of the row's source, gives clip ``row`` of the shard set."""

    task: Task
    row: int
    number: int


@dataclass(frozen=True)
class _State:
    """What the windows before one leave behind: draws and lags of the tasks, and within each task of the sources."""

    tasks: Tally
    sources: tuple[Tally, ...]


@dataclass(frozen=True)
class _Rule:
    """What holds for all draws of some steps: the weights of the tasks, which sum to 1, and the longest clips."""

    weights: tuple[float, ...]
    longest: Mapping[str, float]


class Plan:
    """Mixed-task batches whose shares are exact, from clips in an order that is new in every epoch of a task.

    - Shares: after any number of draws of a phase of equal weights, every task has its share to less
      than one sample, and so has every source within a task (`Tally`). Of a task are drawn the sources that have
      clips of it.
    - Order: every task runs through its clips of a source in a fresh permutation per epoch, of (seed, task, epoch).
    - Limits: where ``longest_at`` gives one, only clips up to it are drawn, in an order of their own.
    - Lengths: a window of ``bucket_steps`` steps draws as many clips as they hold, sorts them by length and
      cuts them into batches, so that little is padded; the batches of a window come in random order.
      Windows are split where weights or limit change, so no draw moves between phases; they are shorter
      where a task has so few clips that one would come up twice.
    """

    def __init__(
        self,
        rows: Mapping[Task, Sequence[int]],
        *,
        seconds: Mapping[int, float] | Sequence[float],
        batching: Batching,
        seed: int,
        weights_at: Weights,
        longest_at: Longest | None = None,
        bucket_steps: int = 8,
        source_of: Sequence[int] | None = None,
        source_weights: Sequence[float] = (1.0,),
    ) -> None:
        """Plan over ``rows`` (positions per task); ``seconds[row]`` is the length to sort by, and to leave out by.

        ``source_of[row]`` is the number of the row's source; None takes all from the first.
        """
        num_rows = 1 + max((max(group) for group in rows.values() if len(group)), default=0)
        self.source_of = np.zeros(num_rows, dtype=np.int64) if source_of is None else np.asarray(source_of)
        self.source_weights = tuple(source_weights)
        self.rows = {
            (task, source): group[self.source_of[group] == source]
            for task in TASKS
            for group in [np.asarray(rows.get(task, ()), dtype=np.int64)]
            for source in range(len(self.source_weights))
        }
        self.seconds, self.batching, self.seed = seconds, batching, seed
        self.weights_at, self.longest_at = weights_at, longest_at or (lambda step: {})
        self._short_enough: dict[tuple[Task, int, float], np.ndarray] = {}
        self._shares: dict[tuple[Task, float | None], tuple[float, ...]] = {}
        self.bucket_steps = self._shortened(bucket_steps)
        size = len(self.source_weights)
        self._states = {0: _State(Tally.empty(len(TASKS)), (Tally.empty(size),) * len(TASKS))}
        self._window: tuple[int, list[tuple[Draw, ...]]] = (-1, [])
        self._permutations: dict[tuple[Task, int], tuple[tuple[int, float | None], np.ndarray]] = {}

    def batch(self, step: int) -> tuple[Draw, ...]:
        """Return the draws of the global batch of ``step``, neighbours of similar length."""
        window, inside = divmod(step, self.bucket_steps)
        if self._window[0] != window:
            batches, after = self._make(window, self._state(window))
            self._window = (window, batches)
            self._keep(window + 1, after)
        return self._window[1][inside]

    def spares(self, step: int, draw: Draw) -> Iterator[int]:
        """Yield rows to use instead of a clip that cannot be read; the plan's own order does not move."""
        # A generator function: nothing is permuted until a spare is needed.
        rows = self._rows(draw.task, int(self.source_of[draw.row]), self.longest_at(step).get(draw.task))
        order = generator(self.seed, "spare", draw.task.id, step, draw.row).permutation(rows)
        yield from (int(row) for row in order if row != draw.row)

    def state(self, step: int) -> dict[str, Any]:
        """Return JSON values from which ``seek`` continues at ``step`` without going through the steps before."""
        window = step // self.bucket_steps
        state = self._state(window)
        return {"window": window, **state.tasks.to_dict(), "sources": [tally.to_dict() for tally in state.sources]}

    def seek(self, state: Mapping[str, Any]) -> None:
        """Take over a state of ``state``; a shortcut only: the batches are the same without it."""
        # Before there were weighted sources, the draws of a task were those of its one source.
        alone = [{"drawn": [drawn], "weights": None, "lag": [0.0]} for drawn in state["drawn"]]
        sources = tuple(Tally.of(tally) for tally in state.get("sources", alone))
        self._states[int(state["window"])] = _State(Tally.of(state), sources)

    def _shortened(self, bucket_steps: int) -> int:
        """A window with several epochs of a task's clips of a source would sort the same clip next to itself."""
        everything = [self.seconds[row] for group in self.rows.values() for row in group]
        clips = self.batching.typical(everything) if everything else 1
        for (task, source), group in self.rows.items():
            if len(group):
                share = self._source_shares(task, None)[source]
                bucket_steps = min(bucket_steps, int(len(group) / share / clips))
        return max(1, bucket_steps)

    def _state(self, window: int) -> _State:
        known = max(w for w in self._states if w <= window)
        state = self._states[known]
        for earlier in range(known, window):
            state = self._skip(earlier, state)
            self._keep(earlier + 1, state)
        return state

    def _keep(self, window: int, state: _State) -> None:
        latest = max(self._states)
        if latest and latest % KEPT_WINDOWS and latest < window:
            del self._states[latest]
        self._states[window] = state

    def _skip(self, window: int, state: _State) -> _State:
        """Return the state after a window."""
        for rule, num_steps in self._stretches(window):
            count = self.batching.num_clips(num_steps)
            if count is None:
                _, state = self._fill(rule, num_steps, state)
            else:
                for _ in range(count):
                    *_, state = self._choose(rule, state)
        return state

    def _make(self, window: int, state: _State) -> tuple[list[tuple[Draw, ...]], _State]:
        """Return the batches of a window, and the state after it."""
        batches: list[tuple[Draw, ...]] = []
        for number, (rule, num_steps) in enumerate(self._stretches(window)):
            draws, state = self._fill(rule, num_steps, state)
            draws.sort(key=lambda draw: self.seconds[draw.row])
            counts = self.batching.cut([self.batching.size(self.seconds[draw.row]) for draw in draws], num_steps)
            ends = np.cumsum(counts)
            cut = [tuple(draws[end - count : end]) for end, count in zip(ends, counts, strict=True)]
            order = generator(self.seed, "window", window, number).permutation(len(cut))
            batches += [cut[i] for i in order]
        return batches, state

    def _stretches(self, window: int) -> list[tuple[_Rule, int]]:
        """Return the rules of a window, and for how many steps each holds."""
        steps = range(window * self.bucket_steps, (window + 1) * self.bucket_steps)
        rules = (_Rule(self._weights(step), self.longest_at(step)) for step in steps)
        return [(rule, len(list(same))) for rule, same in itertools.groupby(rules)]

    def _fill(self, rule: _Rule, num_steps: int, state: _State) -> tuple[list[Draw], _State]:
        """Draw as long as the steps hold the clips; return the draws in their order, and the state after them."""
        draws: list[Draw] = []
        sizes: list[int] = []
        while True:
            draw, after = self._draw(rule, state)
            bisect.insort(sizes, self.batching.size(self.seconds[draw.row]))
            if not self.batching.fits(sizes, num_steps):
                return draws, state
            draws.append(draw)
            state = after

    def _choose(self, rule: _Rule, state: _State) -> tuple[Task, int, int, _State]:
        """Return task and source of the next draw, the times that they were drawn before, and the state after it."""
        index, tasks = state.tasks.draw(rule.weights)
        task, before = TASKS[index], state.sources[index]
        source, after = before.draw(self._source_shares(task, rule.longest.get(task)))
        sources = (*state.sources[:index], after, *state.sources[index + 1 :])
        return task, source, before.drawn[source], _State(tasks, sources)

    def _draw(self, rule: _Rule, state: _State) -> tuple[Draw, _State]:
        task, source, number, after = self._choose(rule, state)
        limit = rule.longest.get(task)
        rows = self._rows(task, source, limit)
        epoch, place = divmod(number, len(rows))
        if self._permutations.get((task, source), (None,))[0] != (epoch, limit):
            # The first source is drawn as if it were alone.
            further = (source,) if source else ()
            order = generator(self.seed, "epoch", task.id, epoch, *further).permutation(rows)
            self._permutations[task, source] = ((epoch, limit), order)
        return Draw(task, int(self._permutations[task, source][1][place]), number), after

    def _weights(self, step: int) -> tuple[float, ...]:
        given = self.weights_at(step)
        values = [float(given.get(task, 0.0)) for task in TASKS]
        if unknown := [str(name) for name in given if name not in TASKS]:
            raise DataError(f"Task weights name unknown tasks: {unknown}", where=f"weights of step {step}", allowed=TASKS)
        if min(values) < 0 or not np.isfinite(values).all() or sum(values) <= 0:
            raise DataError(f"The task weights are {values}", where=f"step {step}", allowed="0 or more, not all 0")
        present = {task for (task, _), group in self.rows.items() if len(group)}
        for task, value in zip(TASKS, values, strict=True):
            if value > 0 and task not in present:
                raise DataError(
                    f"The weight of {task} is {value:g} at step {step}, but the shards hold no {task}",
                    where="task weights",
                    allowed=[str(t) for t in TASKS if t in present],
                    hint=f"set the weight of {task} to 0, or add clips of it",
                )
        return tuple(value / sum(values) for value in values)

    def _source_shares(self, task: Task, longest: float | None) -> tuple[float, ...]:
        """Shares of the sources among the draws of a task; 0 for one without a clip that may be drawn."""
        if (task, longest) not in self._shares:
            weights = [w if len(self._rows(task, source, longest)) else 0.0 for source, w in enumerate(self.source_weights)]
            if not sum(weights):
                raise DataError(
                    f"No clip of {task} is as short as {longest:g} s",
                    where="max_clip_seconds of the curriculum",
                    hint="raise the limit, or leave the task out of this phase",
                )
            self._shares[task, longest] = tuple(weight / sum(weights) for weight in weights)
        return self._shares[task, longest]

    def _rows(self, task: Task, source: int, longest: float | None) -> np.ndarray:
        """Rows of the task's clips of a source, of at most ``longest`` seconds."""
        if longest is None:
            return self.rows[task, source]
        key = (task, source, longest)
        if key not in self._short_enough:
            rows = [row for row in self.rows[task, source] if self.seconds[row] <= longest]
            self._short_enough[key] = np.asarray(rows, dtype=np.int64)
        return self._short_enough[key]
