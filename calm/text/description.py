"""The one text interface of all tasks: a description in plain sentences, made by fixed templates.

``{kind} {attributes} {content} {duration}``. Speech puts its verbatim transcript in quotes at the end
and has no duration sentence: its length follows from the words.

Generation uses `describe` (the long form). Training draws per item from three forms with `Describer`,
so that short captions and bare tags, as people type them, are in the training distribution too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calm.errors import ConfigError, InputError, did_you_mean
from calm.text.attributes import canonical
from calm.text.phrases import CANONICAL, Wording, attribute_sentences, duration_phrase, sentence, tags, voice_sentence
from calm.types import Task

__all__ = ["STYLES", "Describer", "describe"]

#: description: the templates. raw: the caption or the quoted transcript alone (for the ablation)
STYLES = ("description", "raw")
FORMS = ("long", "caption", "tags")
ATTRIBUTE_DROPOUT = 0.3
KINDS = {Task.SOUND: "A sound recording.", Task.MUSIC: "A piece of music."}


def describe(
    task: Task,
    text: str,
    *,
    attributes: Mapping[str, Any] | None = None,
    duration_seconds: float | None = None,
    voice: str | None = None,
    has_reference: bool = False,
    style: str = "description",
) -> str:
    """Return the long form of a description; the same arguments give the same words.

    Args:
        task: speech, sound or music.
        text: transcript of speech, caption of sound or music.
        attributes: keys of a manifest (gender, pitch, rate, tone, ...; kinds, counts; genre, mood, ...).
        duration_seconds: length that is asked for; speech ignores it.
        voice: words for a voice, for example "a low male voice"; speech only.
        has_reference: a reference clip of the speaker precedes the text; only speech mentions it.
        style: a name of ``STYLES``.
    Raises InputError for speech without a transcript, and for a voice where none can be described.
    """
    _check_style(style)
    _check_text(task, text, attributes, voice=voice, has_reference=has_reference)
    if style == "raw":
        return _caption(task, text)
    known = canonical(attributes)
    if task is Task.SPEECH:
        kind = voice_sentence(known, CANONICAL, voice=voice, has_reference=has_reference)
        return _join([kind, *attribute_sentences(task, known, CANONICAL), _says(text)])
    length = [] if duration_seconds is None else [f"Duration: {duration_phrase(duration_seconds)}."]
    return _join([KINDS[task], *attribute_sentences(task, known, CANONICAL), sentence(text), *length])


@dataclass(frozen=True, kw_only=True)
class Describer:
    """Draws one description of a training item; all randomness comes from the generator of the call.

    Args:
        style: a name of ``STYLES``; "raw" draws nothing.
        form_weights: how often the long form, the raw caption and the tag list are drawn.
        attribute_dropout: chance of each attribute to be left out, one for all tasks or by task.
        duration_probability: chance that the duration of sound or music is told.
    """

    style: str = "description"
    form_weights: Mapping[str, float] = field(default_factory=lambda: {"long": 0.5, "caption": 0.3, "tags": 0.2})
    attribute_dropout: float | Mapping[str, float] = ATTRIBUTE_DROPOUT
    duration_probability: float = 0.5

    def __post_init__(self) -> None:
        _check_style(self.style)
        weights = self.form_weights
        if not set(weights) <= set(FORMS) or min(weights.values(), default=-1) < 0 or sum(weights.values()) <= 0:
            raise ConfigError(
                f"Cannot draw forms with the weights {dict(weights)}", where="form_weights", allowed=FORMS
            )
        dropout = self.attribute_dropout
        chances = {f"attribute_dropout.{k}": v for k, v in dropout.items()} if isinstance(dropout, Mapping) else {"attribute_dropout": dropout}
        for name, chance in {**chances, "duration_probability": self.duration_probability}.items():
            if not 0 <= chance <= 1:
                raise ConfigError(f"{name} is {chance}", where=name, allowed="0 to 1")

    def dropout_of(self, task: Task) -> float:
        """Chance of each attribute of a task to be left out."""
        dropout = self.attribute_dropout
        return dropout.get(str(task), ATTRIBUTE_DROPOUT) if isinstance(dropout, Mapping) else dropout

    def __call__(
        self,
        task: Task,
        text: str,
        *,
        rng: np.random.Generator,
        attributes: Mapping[str, Any] | None = None,
        duration_seconds: float | None = None,
        voice: str | None = None,
        has_reference: bool = False,
    ) -> str:
        """Return one description; see `describe` for the arguments."""
        _check_text(task, text, attributes, voice=voice, has_reference=has_reference)
        if self.style == "raw":
            return _caption(task, text)
        weights = np.array([self.form_weights.get(form, 0.0) for form in FORMS])
        form = FORMS[rng.choice(len(FORMS), p=weights / weights.sum())]
        known = canonical(attributes)
        kept = {key: value for key, value in known.items() if rng.random() >= self.dropout_of(task)}
        tells_duration = task is not Task.SPEECH and duration_seconds is not None
        length = duration_phrase(duration_seconds) if tells_duration else None
        if rng.random() >= self.duration_probability:
            length = None
        if form == "long":
            return _drawn_sentences(task, text, kept, length, rng, voice=voice, has_reference=has_reference)
        if form == "tags":
            return _tag_list(task, text, kept, length, voice=voice, has_reference=has_reference)
        # A caption may be missing where attributes say everything: they stand in for it.
        return _caption(task, text) if text.strip() else _tag_list(task, text, known, None, voice=None, has_reference=False)


def _drawn_sentences(
    task: Task,
    text: str,
    attributes: dict[str, Any],
    length: str | None,
    rng: np.random.Generator,
    *,
    voice: str | None,
    has_reference: bool,
) -> str:
    """The long form with drawn words and the sentences between the first and the last in drawn order."""
    wording = Wording(rng=rng)
    middle = attribute_sentences(task, attributes, wording)
    if task is Task.SPEECH:
        middle.append(voice_sentence(attributes, wording, voice=voice, has_reference=has_reference))
        return _join([*rng.permutation(middle), _says(text)])
    middle.append(sentence(text))
    return _join([KINDS[task], *rng.permutation(middle), f"Duration: {length}." if length else ""])


def _tag_list(
    task: Task,
    text: str,
    attributes: dict[str, Any],
    length: str | None,
    *,
    voice: str | None,
    has_reference: bool,
) -> str:
    words = tags(task, attributes, voice=voice, has_reference=has_reference)
    if task is Task.SPEECH:
        return f'{", ".join(["speech", *words])}. "{text.strip()}"'
    # Without a tag that names the content, the caption is the content.
    if not words and text.strip():
        words = [text.strip().rstrip(".")]
    return ", ".join([str(task), *words, *([length] if length else [])])


def _caption(task: Task, text: str) -> str:
    return f'"{text.strip()}"' if task is Task.SPEECH else text.strip()


def _says(text: str) -> str:
    return f'The speaker says: "{text.strip()}"'


def _join(sentences: list[str]) -> str:
    return " ".join(str(part) for part in sentences if part)


def _check_style(style: str) -> None:
    if style not in STYLES:
        raise ConfigError(
            f"Unknown description style '{style}'. {did_you_mean(style, STYLES) or ''}".strip(), allowed=STYLES
        )


def _check_text(
    task: Task, text: str, attributes: Mapping[str, Any] | None, *, voice: str | None, has_reference: bool
) -> None:
    if not text.strip() and (task is Task.SPEECH or not attributes):
        what = "Speech needs a transcript" if task is Task.SPEECH else f"The description of the {task} is empty"
        raise InputError(what, where="text", hint="give the words to say, or say what is to be heard")
    if voice is not None and task is not Task.SPEECH:
        raise InputError(f"A voice can be described for speech only, not for {task}", where="voice")
    if voice is not None and has_reference:
        raise InputError(
            "A voice comes from a description or from a reference clip, not from both", where="voice", hint="drop one"
        )
