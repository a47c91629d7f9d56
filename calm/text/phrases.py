"""Phrases and sentences for single attributes; the first wording of each is the one that generation uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from num2words import num2words

from calm.errors import InputError
from calm.types import Task

__all__ = ["CANONICAL", "MAX_VOICE_CHARS", "Wording", "attribute_sentences", "duration_phrase", "sentence", "tags", "voice_sentence"]

PITCH = {
    "low": ("low-pitched", "low", "deep"),
    "medium": ("medium-pitched", "mid-pitched"),
    "high": ("high-pitched", "high"),
}
RATE = {
    "slow": ("slowly", "at a slow pace"),
    "normal": ("at a normal pace", "at a moderate pace"),
    "fast": ("quickly", "at a fast pace", "fast"),
}
REVERBERATION = ("The sound is {}.", "The acoustics are {}.")
RECORDING = ("The recording is {}.", "The sound quality is {}.")
MAX_VOICE_CHARS = 300


@dataclass(frozen=True, kw_only=True)
class Wording:
    """Chooses among words that mean the same: the first without a generator, any of them with one."""

    rng: np.random.Generator | None = None

    def choose(self, options: Sequence[str]) -> str:
        return options[0 if self.rng is None else int(self.rng.integers(len(options)))]


CANONICAL = Wording()


def voice_sentence(attributes: Mapping[str, Any], wording: Wording, *, voice: str | None, has_reference: bool) -> str:
    """Say who speaks, and how: "A low-pitched male voice speaks quickly in a calm tone."

    A reference clip, or the words ``voice``, take the place of gender, age, pitch and accent.
    """
    if has_reference:
        who = "The voice of the reference clip"
    elif voice is not None:
        who = _voice_phrase(voice)
    else:
        pitch = _word(attributes, "pitch")
        words = [
            _word(attributes, "age"),
            wording.choose(PITCH.get(pitch, (f"{pitch}-pitched" if pitch else "",))),
            _word(attributes, "gender"),
            "voice",
        ]
        accent = str(attributes.get("accent", "")).removesuffix("accent").strip()
        tail = f" with {_article(accent)} accent" if accent else ""
        who = _upper_first(_article(" ".join(word for word in words if word)) + tail)
    rate, tone = _word(attributes, "rate"), _word(attributes, "tone").removesuffix(" tone")
    how = wording.choose(RATE.get(rate, (f"at a {rate} pace" if rate else "",)))
    return " ".join(part for part in (who, "speaks", how, f"in {_article(tone)} tone" if tone else "") if part) + "."


def attribute_sentences(task: Task, attributes: Mapping[str, Any], wording: Wording) -> list[str]:
    """Return one sentence for every attribute that the voice sentence does not tell."""
    if task is Task.SPEECH:
        told = ((RECORDING, _word(attributes, "recording")), (REVERBERATION, _word(attributes, "reverberation")))
        return [wording.choose(sentences).format(state) for sentences, state in told if state]
    if task is Task.SOUND:
        kinds = _counted_kinds(attributes)
        labelled = [("Sounds", ", ".join(kinds)), ("Loudness", _word(attributes, "loudness"))]
    else:
        labelled = [(label.capitalize(), value) for label, value in _music(attributes).items()]
    return [f"{label}: {value}." for label, value in labelled if value]


def tags(
    task: Task, attributes: Mapping[str, Any], *, voice: str | None = None, has_reference: bool
) -> list[str]:
    """Return the attributes as bare words, for example ``["jazz", "calm", "piano", "90 BPM"]``."""
    if task is Task.SOUND:
        return [*_counted_kinds(attributes), *_list(attributes, "loudness")]
    if task is Task.MUSIC:
        return [value for value in _music(attributes).values() if value]
    pitch, rate = _word(attributes, "pitch"), _word(attributes, "rate")
    who = (
        ["reference voice"]
        if has_reference
        else [_voice_phrase(voice)]
        if voice is not None
        else [
            _word(attributes, "age"),
            _word(attributes, "gender"),
            f"{pitch} pitch" if pitch else "",
            _word(attributes, "accent"),
        ]
    )
    rest = (_word(attributes, key) for key in ("tone", "recording", "reverberation"))
    how = [f"{rate} pace" if rate else "", *rest]
    return [word for word in who + how if word]


def sentence(text: str) -> str:
    """Return a caption as a sentence: first letter large, full stop at the end; empty text stays empty."""
    text = " ".join(text.split())
    if not text:
        return ""
    return _upper_first(text) + ("" if text.endswith((".", "!", "?", "…", '"', "”")) else ".")


def duration_phrase(seconds: float) -> str:
    """Return ``10 seconds``, ``1 second`` or ``2.5 seconds``."""
    nearest = max(0.1, round(seconds, 1))
    return "1 second" if nearest == 1 else f"{nearest:g} seconds"


def _music(attributes: Mapping[str, Any]) -> dict[str, str]:
    tempo = attributes.get("tempo")
    is_number = isinstance(tempo, int | float) and not isinstance(tempo, bool)
    return {
        "genre": ", ".join(_list(attributes, "genre")),
        "mood": ", ".join(_list(attributes, "mood")),
        "instruments": ", ".join(_list(attributes, "instruments")),
        "tempo": f"{round(tempo)} BPM" if is_number else _word(attributes, "tempo"),
        # Case matters in C major and c minor.
        "key": str(attributes.get("key", "")),
    }


def _counted_kinds(attributes: Mapping[str, Any]) -> list[str]:
    """Join kinds with counts, which come as a list beside the kinds, as a mapping, or as one number."""
    kinds, counts = _list(attributes, "kinds"), attributes.get("counts", attributes.get("count"))
    if isinstance(counts, Mapping):
        numbers = [counts.get(kind) for kind in kinds]
    elif isinstance(counts, list | tuple):
        numbers = [*counts, *[None] * len(kinds)][: len(kinds)]
    else:
        numbers = [counts if len(kinds) == 1 else None] * len(kinds)
    names = [kind.replace("_", " ") for kind in kinds]
    return [f"{name} {_times(number)}".strip() for name, number in zip(names, numbers, strict=True)]


def _times(number: Any) -> str:
    """Say how often; one needs no word, and is also the count of what lasts, such as rain."""
    if not isinstance(number, int) or isinstance(number, bool) or number < 2:
        return ""
    return "twice" if number == 2 else f"{num2words(number)} times"


def _list(attributes: Mapping[str, Any], key: str) -> list[str]:
    value = attributes.get(key, [])
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]


def _word(attributes: Mapping[str, Any], key: str) -> str:
    return str(attributes.get(key, "")).strip().lower()


def _voice_phrase(voice: str) -> str:
    phrase = " ".join(voice.replace('"', "'").split()).rstrip(".")
    if not phrase or len(phrase) > MAX_VOICE_CHARS:
        raise InputError(
            "The voice needs a few words" if not phrase else f"The voice is described in {len(phrase)} characters",
            where="voice",
            allowed=f"1 to {MAX_VOICE_CHARS} characters, for example 'a low male voice'",
        )
    return _upper_first(phrase)


def _article(words: str) -> str:
    return f"{'an' if words[:1].lower() in 'aeiou' else 'a'} {words}"


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]
