"""Example -> token ids of its description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from calm.data.examples import Example
from calm.data.schema import MAX_CHARACTERS
from calm.text import Describer, Tokenizer, named_tempo, normalize
from calm.types import Sample, Task

__all__ = ["Description", "DescriptionEncoder", "no_text"]


class Description(NamedTuple):
    """Token ids of a text, and the tempo in beats a minute that it names for sound or music; 0 where it names none."""

    ids: Sequence[int] = ()
    tempo: float = 0.0


@dataclass(frozen=True)
class DescriptionEncoder:
    """Draws a description of an example by its own random generator, and encodes it.

    Where a clip has further wordings, each is drawn as often as the caption itself. Those of speech describe the
    voice, and stand in for its attributes, as the words of ``calm generate --voice`` do.

    English transcripts are normalised as in generation; other languages are taken verbatim.
    """

    describer: Describer
    tokenizer: Tokenizer

    def __call__(self, example: Example, *, has_reference: bool) -> Description:
        sample = example.sample
        drawn = _draw(sample.wordings, example.rng)
        speaks = sample.task is Task.SPEECH
        text = self.describer(
            sample.task,
            spoken_text(sample) if speaks or drawn is None else drawn,
            rng=example.rng,
            voice=drawn if speaks and not has_reference else None,
            attributes=sample.attributes,
            # The length of an excerpt says nothing about where the recording ends.
            duration_seconds=sample.seconds if example.complete else None,
            has_reference=has_reference,
        )
        return Description(self.tokenizer.encode(text), 0.0 if speaks else named_tempo(text))


def _draw(wordings: Sequence[str], rng: np.random.Generator) -> str | None:
    """Return one of the wordings, or None for the clip's own words; nothing is drawn where there is no choice."""
    number = int(rng.integers(len(wordings) + 1)) if wordings else 0
    return wordings[number - 1] if number else None


def no_text(example: Example, *, has_reference: bool) -> Description:
    """Give every example an empty text, for models that have no use for it."""
    return Description()


def spoken_text(sample: Sample) -> str:
    """Return the sample's text as it is spoken."""
    english = str(sample.attributes.get("language", "en")).lower().startswith("en")
    if sample.task is not Task.SPEECH or not english:
        return sample.text
    return normalize(sample.text, max_chars=MAX_CHARACTERS, where=f"{sample.shard}: {sample.key}")
