"""Sound clips: one to three events in a stated order, with counts and levels, and their caption."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np

from calm.corpus.clip import Clip, ClipPlan
from calm.corpus.dsp import add_at, fade, set_peak, set_rms
from calm.corpus.events_lasting import LASTING
from calm.corpus.events_struck import STRUCK
from calm.corpus.sentences import split_of
from calm.types import Task

__all__ = ["COUNTS", "KINDS", "LEVELS", "ORDERS", "Event", "Kind", "load_kinds", "make_sound", "render_event"]

#: names of all kinds, those that can be counted first
KINDS: tuple[str, ...] = (*STRUCK, *LASTING)
#: adverbs of a number of occurrences; one needs no word
COUNTS = {1: ("", "", "once"), 2: ("twice", "two times"), 3: ("three times",), 4: ("four times",)}
#: adverbs of a level, and the peak of a struck event; lasting events are set by RMS, a quarter of it
LEVELS = {"quiet": (("quietly", "softly"), 0.22), "normal": (("",), 0.5), "loud": (("loudly",), 0.85)}
#: how the events of a clip follow each other, with captions of {a} and {b}
ORDERS = {
    "single": ("{a}",),
    "sequence": ("{a}, then {b}", "{a} and then {b}", "first {a}, then {b}", "{a}, after that {b}", "{a} before {b}"),
    "overlap": ("{a} while {b}", "{b} as {a}", "{a} and at the same time {b}"),
}

_GAP_SECONDS = 0.12
_LEAD_SECONDS = 0.05
_MAX_DRAWS = 10_000


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of sound event: ``clauses`` ("a dog barks") and ``nouns`` ("a barking dog") that name it."""

    name: str
    clauses: tuple[str, ...]
    nouns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of a scene: its kind, how often it is heard, and its level (a key of LEVELS)."""

    kind: str
    count: int
    level: str


@functools.cache
def load_kinds() -> dict[str, Kind]:
    """Read the words of every kind. Each has a synthesiser in STRUCK or LASTING."""
    table = (resources.files("calm.corpus") / "words" / "events.txt").read_text("utf-8")
    kinds = {}
    for line in table.splitlines():
        if line and not line.startswith("#"):
            name, clauses, nouns = (part.strip() for part in line.split("|"))
            kinds[name] = Kind(name=name, clauses=_phrases(clauses), nouns=_phrases(nouns))
    return kinds


def make_sound(rng: np.random.Generator, *, split: str, plan: ClipPlan) -> Clip:
    """Return one scene whose caption belongs to ``split``."""
    for _ in range(_MAX_DRAWS):
        order, events, caption = _draw_scene(rng, plan.scene_shares)
        if split_of(caption) == split:
            break
    else:  # pragma: no cover - one draw in twenty belongs to the rarest split
        raise AssertionError("no caption of the split was drawn")
    audio = _render_scene(rng, order, events, plan)
    attributes = {
        "kinds": [event.kind for event in events],
        "counts": [event.count for event in events],
        "levels": [event.level for event in events],
        "order": order,
        **({"loudness": events[0].level} if order == "single" else {}),
        "tags": sorted({event.kind for event in events}),
    }
    return Clip(task=Task.SOUND, text=caption, audio=audio, attributes=attributes)


def render_event(rng: np.random.Generator, event: Event, *, seconds: float, sample_rate: int) -> np.ndarray:
    """Return the event as float64 [S], at most ``seconds`` long, at its level.

    A struck event repeats ``count`` times; a lasting one fills ``seconds``.
    """
    level = LEVELS[event.level][1] * rng.uniform(0.9, 1.1)
    if event.kind in LASTING:
        audio = LASTING[event.kind](rng, round(seconds * sample_rate), sample_rate)
        return fade(set_rms(audio, 0.25 * level, peak=level), sample_rate, seconds=0.05)
    # Occurrences of one event sound alike; where room is short they follow each other more closely.
    once = set_peak(STRUCK[event.kind](rng, sample_rate), level)
    limit = round(seconds * sample_rate)
    once = fade(once[:limit], sample_rate, seconds=0.005) if len(once) > limit else once
    step = len(once) + round(rng.uniform(1.0, 2.0) * _GAP_SECONDS * sample_rate)
    if event.count > 1:
        step = min(step, max(limit - len(once), limit // 2) // (event.count - 1))
    audio = np.zeros(min(limit, (event.count - 1) * step + len(once)))
    for number in range(event.count):
        add_at(audio, once, number * step)
    return fade(audio, sample_rate, seconds=0.005)


def _draw_scene(rng: np.random.Generator, shares: Mapping[str, float]) -> tuple[str, tuple[Event, ...], str]:
    weights = np.array([shares.get(order, 0.0) for order in ORDERS])
    order = str(rng.choice(list(ORDERS), p=weights / weights.sum()))
    if order == "single":
        names = [str(rng.choice(KINDS))]
    elif order == "sequence":
        names = [str(name) for name in rng.choice(KINDS, 2, replace=False)]
    else:
        # What goes on in the background lasts, what is heard over it is struck.
        names = [str(rng.choice(list(STRUCK))), str(rng.choice(list(LASTING)))]
    events = tuple(_draw_event(rng, name, most=4 if order == "single" else 3) for name in names)
    phrases = [_clause(rng, event) for event in events]
    if order == "single" and events[0].count == 1 and events[0].level == "normal" and rng.random() < 0.35:
        noun = str(rng.choice(load_kinds()[names[0]].nouns))
        phrases = [str(rng.choice([noun, f"the sound of {noun}", f"a recording of {noun}"]))]
    caption = str(rng.choice(ORDERS[order])).format(a=phrases[0], b=phrases[-1])
    return order, events, caption[0].upper() + caption[1:] + "."


def _draw_event(rng: np.random.Generator, kind: str, *, most: int) -> Event:
    count = 1 if kind in LASTING else int(rng.integers(1, most + 1))
    return Event(kind=kind, count=count, level=str(rng.choice(list(LEVELS), p=[0.25, 0.5, 0.25])))


def _clause(rng: np.random.Generator, event: Event) -> str:
    clause = str(rng.choice(load_kinds()[event.kind].clauses))
    level = str(rng.choice(LEVELS[event.level][0]))
    count = "" if event.kind in LASTING else str(rng.choice(COUNTS[event.count]))
    return " ".join(word for word in (clause, level, count) if word)


def _render_scene(rng: np.random.Generator, order: str, events: tuple[Event, ...], plan: ClipPlan) -> np.ndarray:
    shortest, longest = plan.sound_seconds
    wanted, gap = rng.uniform(shortest, longest), _GAP_SECONDS
    parts = []
    for event in events:
        # A struck event may use all the room to fit its count, a lasting one fills the wanted length.
        room = wanted if event.kind in LASTING else longest
        room -= _LEAD_SECONDS
        room = room / 2 - gap if order == "sequence" else room
        parts.append(render_event(rng, event, seconds=room, sample_rate=plan.sample_rate))
    starts = [round(_LEAD_SECONDS * plan.sample_rate)] * len(parts)
    if order == "sequence":
        starts[1] += len(parts[0]) + round(gap * plan.sample_rate)
    end = max(start + len(part) for start, part in zip(starts, parts, strict=True))
    audio = np.zeros(max(end, round(shortest * plan.sample_rate)))
    for start, part in zip(starts, parts, strict=True):
        add_at(audio, part, start)
    return set_peak(audio, 0.95) if np.abs(audio).max() > 0.95 else audio


def _phrases(cell: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in cell.split(";"))
