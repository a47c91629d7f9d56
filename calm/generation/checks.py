"""What generation accepts: one table of limits for the arguments of a call and for the sampler's keys."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from calm.errors import CalmError, InputError
from calm.generation.guidance import GUIDANCE
from calm.generation.solver import GRIDS, SOLVERS
from calm.types import Task

__all__ = ["LIMITS", "MAX_DURATION_SECONDS", "Limit", "check", "check_texts"]

MAX_DURATION_SECONDS = 3600.0


@dataclass(frozen=True)
class Limit:
    """A type, a condition on its values, and both in words. Neither booleans nor NaN are numbers here."""

    kind: type
    holds: Callable[[Any], bool]
    allowed: str

    def accepts(self, value: object) -> bool:
        return isinstance(value, self.kind) and not isinstance(value, bool) and self.holds(value)


def _whole(low: int, high: float, said: str) -> Limit:
    return Limit(numbers.Integral, lambda x: low <= x <= high, f"a whole number, {said}")


def _number(low: float, high: float, said: str) -> Limit:
    return Limit(numbers.Real, lambda x: low <= x <= high, f"a number, {said}")


def _name(table: Mapping[str, Any]) -> Limit:
    return Limit(str, table.__contains__, ", ".join(table))


def _is_interval(pair: Any) -> bool:
    numeric = all(isinstance(x, numbers.Real) and not isinstance(x, bool) for x in pair)
    return numeric and len(pair) == 2 and 0 <= pair[0] <= pair[1] <= 1


def _are_tasks(names: Any) -> bool:
    return all(isinstance(name, str) and name in list(Task) for name in names)


_SECONDS = Limit(
    numbers.Real, lambda x: 0 < x <= MAX_DURATION_SECONDS, f"a number, seconds, above 0, at most {MAX_DURATION_SECONDS:.0f}"
)
_STEPS = _whole(1, 1000, "1 to 1000")
_CFG_SCALE = _number(0, 100, "0 to 100; 1 is without guidance")
_TEMPERATURE = _number(0, 4, "0 to 4")
_HISTORY_TIME = _number(0, 1, "0 (noise) to 1 (clean)")
_TEXT = Limit(str, lambda x: True, "text")

#: argument of a call, or "sampler.key" of the configuration -> what it may be
LIMITS: dict[str, Limit] = {
    "duration": _SECONDS,
    "voice": _TEXT,
    "negative_prompt": _TEXT,
    "steps": _STEPS,
    "cfg_scale": _CFG_SCALE,
    "temperature": _TEMPERATURE,
    "history_time": _HISTORY_TIME,
    "seed": _whole(0, 2**63 - 1, "0 to 2^63 - 1"),
    "block_size": _whole(1, 16, "1 to 16 latents"),
    "max_seconds": _SECONDS,
    "window_seconds": Limit(numbers.Real, lambda x: 0 < x < math.inf, "a number, seconds, above 0 and finite"),
    "solver": _name(SOLVERS),
    "grid": _name(GRIDS),
    "guidance": _name(GUIDANCE),
    "sampler.num_steps": _STEPS,
    "sampler.solver": _name(SOLVERS),
    "sampler.grid": _name(GRIDS),
    "sampler.guidance": _name(GUIDANCE),
    "sampler.guidance_interval": Limit(tuple | list, _is_interval, "two numbers, 0 <= first <= second <= 1"),
    **{f"sampler.cfg_scale_{task}": _CFG_SCALE for task in Task},
    **{f"sampler.temperature_{task}": _TEMPERATURE for task in Task},
    **{f"sampler.history_time_{task}": _HISTORY_TIME for task in Task},
    "sampler.block_size": _whole(0, 16, "1 to 16 latents, or 0 for the model's own"),
    "sampler.window_blocks": _whole(0, math.inf, "0 (unlimited) or more"),
    # Beyond 0 and 1 it says "always" and "never".
    "sampler.stop_threshold": _number(-1, 2, "-1 (always) to 2 (never)"),
    "sampler.max_seconds": _SECONDS,
    "sampler.min_seconds_per_character": _number(0, 1, "seconds, 0 (no floor) to 1"),
    "sampler.self_check": Limit(tuple | list, _are_tasks, f"a list of tasks: {', '.join(Task)}"),
    "sampler.silence_db": _number(0, 120, "dB, 0 to 120"),
    "sampler.silence_seconds": _number(0, MAX_DURATION_SECONDS, "seconds, or 0 for never"),
    "sampler.tail_seconds": _number(0, MAX_DURATION_SECONDS, "seconds, or 0 to keep the tail"),
    "sampler.repetition_count": Limit(
        numbers.Integral, lambda x: x == 0 or 2 <= x <= 100, "a whole number, 2 to 100, or 0 for never"
    ),
    "sampler.repetition_similarity": _number(-1, 1, "a cosine, -1 to 1"),
}


def check(values: Mapping[str, object], *, error: type[CalmError]) -> dict[str, Any]:
    """Return the values by name, numbers as plain int and float. Raises ``error`` for the first beyond its limit."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        limit = LIMITS[name]
        if not limit.accepts(value):
            raise error(f"{name} = {value!r} is not accepted", where=name, allowed=limit.allowed)
        plain[name] = {numbers.Integral: int, numbers.Real: float}.get(limit.kind, lambda x: x)(value)
    return plain


def check_texts(text: object) -> list[str]:
    """Return the prompts of a call as a list of at least one text."""
    texts = [text] if isinstance(text, str) or not isinstance(text, Iterable) else list(text)
    if not texts:
        raise InputError("No prompt was given", where="text")
    for one in texts:
        if not isinstance(one, str):
            raise InputError(f"The prompt {one!r} is no text", where="text", allowed="text, or several texts")
    return texts
