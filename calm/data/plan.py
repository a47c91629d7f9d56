"""The plan: which clips make up the global batch of every step, as a pure function of seed and step."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    """The ``number``-th time (from 0) that ``task`` is drawn gives clip ``row`` of the shard set."""

    task: Task
    row: int
    number: int


@dataclass(frozen=True)
class _State:
    """What the windows before one leave behind: draws so far, and per task how far it lags its share."""

    drawn: tuple[int, ...]
    weights: tuple[float, ...] | None
    lag: tuple[float, ...]


class Plan:
    """Mixed-task batches whose shares are exact, from clips in an order that is new in every epoch of a task.

    - Shares: after any number of draws of a phase of equal weights, every task has its share to less
      than one sample (Tijdeman, The chairman assignment problem, 1980).
    - Order: every task runs through its clips in a fresh permutation per epoch, of (seed, task, epoch).
    - Limits: where ``longest_at`` gives one, only clips up to it are drawn, in an order of their own.
    - Lengths: the draws of a window of ``bucket_steps`` steps are sorted by length and cut into
      batches of equal size, so that little is padded; the batches of a window come in random order.
      Windows are split where weights or limit change, so no draw moves between phases; they are shorter
      where a task has so few clips that one would come up twice.
    """

    def __init__(
        self,
        rows: Mapping[Task, Sequence[int]],
        *,
        seconds: Mapping[int, float] | Sequence[float],
        batch_size: int,
        seed: int,
        weights_at: Weights,
        longest_at: Longest | None = None,
        bucket_steps: int = 8,
    ) -> None:
        """Plan over ``rows`` (positions per task); ``seconds[row]`` is the length to sort by, and to leave out by."""
        self.rows = {task: np.asarray(rows.get(task, ()), dtype=np.int64) for task in TASKS}
        self.seconds, self.batch_size, self.seed = seconds, batch_size, seed
        self.weights_at, self.longest_at = weights_at, longest_at or (lambda step: {})
        # A window with several epochs of a task would sort the same clip next to itself.
        smallest = min((len(group) for group in self.rows.values() if len(group)), default=0)
        self.bucket_steps = max(1, min(bucket_steps, smallest // batch_size))
        self._states = {0: _State((0,) * len(TASKS), None, (0.0,) * len(TASKS))}
        self._window: tuple[int, list[tuple[Draw, ...]]] = (-1, [])
        self._permutations: dict[Task, tuple[tuple[int, float | None], np.ndarray]] = {}
        self._short_enough: dict[tuple[Task, float | None], np.ndarray] = {}

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
        rows = self._rows(draw.task, self.longest_at(step).get(draw.task))
        order = generator(self.seed, "spare", draw.task.id, step, draw.row).permutation(rows)
        yield from (int(row) for row in order if row != draw.row)

    def state(self, step: int) -> dict[str, Any]:
        """Return JSON values from which ``seek`` continues at ``step`` without going through the steps before."""
        window = step // self.bucket_steps
        state = self._state(window)
        weights = None if state.weights is None else list(state.weights)
        return {"window": window, "drawn": list(state.drawn), "weights": weights, "lag": list(state.lag)}

    def seek(self, state: Mapping[str, Any]) -> None:
        """Take over a state of ``state``; a shortcut only: the batches are the same without it."""
        weights = None if state["weights"] is None else tuple(state["weights"])
        self._states[int(state["window"])] = _State(tuple(state["drawn"]), weights, tuple(state["lag"]))

    def _state(self, window: int) -> _State:
        known = max(w for w in self._states if w <= window)
        state = self._states[known]
        for earlier in range(known, window):
            for step in range(earlier * self.bucket_steps, (earlier + 1) * self.bucket_steps):
                _, state = self._shares(step, state)
            self._keep(earlier + 1, state)
        return state

    def _keep(self, window: int, state: _State) -> None:
        latest = max(self._states)
        if latest and latest % KEPT_WINDOWS and latest < window:
            del self._states[latest]
        self._states[window] = state

    def _shares(self, step: int, state: _State) -> tuple[list[int], _State]:
        """Return the task ids of the step's draws, and the state after them."""
        weights = self._weights(step)
        # A new phase starts even: a task that is switched off must not be drawn for what it is owed.
        lag = list(state.lag if weights == state.weights else (0.0,) * len(TASKS))
        drawn = list(state.drawn)
        bound = 1 - 1 / (2 * len(TASKS) - 2)
        chosen: list[int] = []
        for _ in range(self.batch_size):
            lag = [owed + weight for owed, weight in zip(lag, weights, strict=True)]
            # Those that have earned a draw; of them the one that would first lag too far behind.
            ready = [t for t, w in enumerate(weights) if w > 0 and lag[t] >= 1 - bound - 1e-9]
            task = min(ready, key=lambda t: (bound - lag[t]) / weights[t])
            lag[task] -= 1
            drawn[task] += 1
            chosen.append(task)
        return chosen, _State(tuple(drawn), weights, tuple(lag))

    def _weights(self, step: int) -> tuple[float, ...]:
        given = self.weights_at(step)
        values = [float(given.get(task, 0.0)) for task in TASKS]
        if unknown := [str(name) for name in given if name not in TASKS]:
            raise DataError(f"Task weights name unknown tasks: {unknown}", where=f"weights of step {step}", allowed=TASKS)
        if min(values) < 0 or not np.isfinite(values).all() or sum(values) <= 0:
            raise DataError(f"The task weights are {values}", where=f"step {step}", allowed="0 or more, not all 0")
        for task, value in zip(TASKS, values, strict=True):
            if value > 0 and not len(self.rows[task]):
                raise DataError(
                    f"The weight of {task} is {value:g} at step {step}, but the shards hold no {task}",
                    where="task weights",
                    allowed=[str(t) for t in TASKS if len(self.rows[t])],
                    hint=f"set the weight of {task} to 0, or add clips of it",
                )
        return tuple(value / sum(values) for value in values)

    def _make(self, window: int, state: _State) -> tuple[list[tuple[Draw, ...]], _State]:
        """Return the batches of a window, and the state after it."""
        runs: list[list[Draw]] = []
        rule = None
        for step in range(window * self.bucket_steps, (window + 1) * self.bucket_steps):
            before, longest = list(state.drawn), self.longest_at(step)
            chosen, state = self._shares(step, state)
            if (state.weights, longest) != rule:
                runs.append([])
                rule = (state.weights, longest)
            for task in chosen:
                runs[-1].append(self._draw(TASKS[task], before[task], longest.get(TASKS[task])))
                before[task] += 1
        batches: list[tuple[Draw, ...]] = []
        for number, draws in enumerate(runs):
            draws.sort(key=lambda draw: self.seconds[draw.row])
            cut = [tuple(draws[i : i + self.batch_size]) for i in range(0, len(draws), self.batch_size)]
            order = generator(self.seed, "window", window, number).permutation(len(cut))
            batches += [cut[i] for i in order]
        return batches, state

    def _draw(self, task: Task, number: int, longest: float | None) -> Draw:
        rows = self._rows(task, longest)
        epoch, place = divmod(number, len(rows))
        if self._permutations.get(task, (None,))[0] != (epoch, longest):
            order = generator(self.seed, "epoch", task.id, epoch).permutation(rows)
            self._permutations[task] = ((epoch, longest), order)
        return Draw(task, int(self._permutations[task][1][place]), number)

    def _rows(self, task: Task, longest: float | None) -> np.ndarray:
        """Rows of the task's clips of at most ``longest`` seconds."""
        if longest is None:
            return self.rows[task]
        if (task, longest) not in self._short_enough:
            rows = [row for row in self.rows[task] if self.seconds[row] <= longest]
            if not rows:
                raise DataError(
                    f"No clip of {task} is as short as {longest:g} s",
                    where="max_clip_seconds of the curriculum",
                    hint="raise the limit, or leave the task out of this phase",
                )
            self._short_enough[task, longest] = np.asarray(rows, dtype=np.int64)
        return self._short_enough[task, longest]
