"""A draw of the plan -> an example: the decoded excerpt, and for speech maybe a reference of the same voice."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calm.data.cut import Cutter, MakeRng
from calm.data.latents import frame_start
from calm.data.plan import Draw, generator
from calm.data.shards import ShardSet
from calm.types import Sample, Task

__all__ = ["REFERENCE_SECONDS", "Example", "ExampleReader"]

#: shortest and longest reference excerpt in training (METHOD 2.1)
REFERENCE_SECONDS = (1.0, 5.0)
#: clips of a speaker that are looked at for one with the wanted attributes
MAX_CANDIDATES = 64
#: rows whose reference attributes are remembered at once, some 20 MB
MAX_KNOWN = 100_000


@dataclass(frozen=True, kw_only=True)
class Example:
    """One row of a batch before collation.

    ``whole_seconds``: of the clip that the sample is an excerpt of; ``start_seconds``: where in it the sample begins.
    """

    sample: Sample
    complete: bool
    reference: Sample | None
    make_rng: MakeRng
    whole_seconds: float = 0.0
    start_seconds: float = 0.0

    @functools.cached_property
    def rng(self) -> np.random.Generator:
        """The generator for what is still to be drawn: description, augmentation."""
        return self.make_rng()


class ExampleReader:
    """Reads draws. Every draw has its own random generator, so that no worker or rank disturbs another."""

    def __init__(
        self,
        shards: ShardSet,
        *,
        cut: Cutter,
        reference_probability: float,
        seed: int,
        reference_attributes: Sequence[str] = (),
    ) -> None:
        """Give speech a reference with ``reference_probability`` where the speaker has another clip.

        ``reference_attributes``: in these the reference equals its target; a speaker who has no such clip gets none.
        """
        self.shards, self.cut, self.seed = shards, cut, seed
        self.reference_probability, self.reference_attributes = reference_probability, tuple(reference_attributes)
        self._known: dict[int, tuple[object, ...]] = {}
        shortest, _ = REFERENCE_SECONDS
        self._references = {
            speaker: np.array(usable)
            for speaker, rows in shards.by_speaker.items()
            if (usable := [r for r in rows if shards.rows[r].clip.seconds >= shortest and _is_speech(shards, r)])
        }

    def read(self, draw: Draw, row: int | None = None) -> Example:
        """Read a draw, or ``row`` in its place; raises DataError where a clip cannot be read."""
        row = draw.row if row is None else row
        clip = self.shards.rows[row].clip
        cut = self.cut(clip.seconds, draw.task, lambda: self._rng("cut", draw, row))
        # The cut may end a fraction of a sample before the clip; the last sample must still be there to start from.
        start = min(cut.start, (clip.frames - 1) / clip.sample_rate)
        sample = self.shards.read(row, start_seconds=start, max_seconds=cut.seconds)
        return Example(
            sample=sample,
            complete=cut.complete,
            reference=self._reference(row, draw),
            make_rng=lambda: self._rng("describe", draw, row),
            whole_seconds=clip.seconds,
            start_seconds=start if sample.latents is None else frame_start(start, sample.latents),
        )

    def _rng(self, purpose: str, draw: Draw, row: int) -> np.random.Generator:
        return generator(self.seed, purpose, draw.task.id, row, draw.number)

    def _reference(self, row: int, draw: Draw) -> Sample | None:
        speaker = self.shards.rows[row].clip.speaker
        others = self._references.get(speaker) if speaker and _is_speech(self.shards, row) else None
        if others is None:
            return None
        rng = self._rng("reference", draw, row)
        if rng.random() >= self.reference_probability:
            return None
        others = others[others != row]
        if not len(others):
            return None
        other = self._alike(row, others, rng) if self.reference_attributes else int(rng.choice(others))
        if other is None:
            return None
        shortest, longest = REFERENCE_SECONDS
        seconds = min(rng.uniform(shortest, longest), self.shards.rows[other].clip.seconds)
        start = rng.uniform(0.0, self.shards.rows[other].clip.seconds - seconds)
        return self.shards.read(other, start_seconds=start, max_seconds=seconds)

    def _alike(self, row: int, others: np.ndarray, rng: np.random.Generator) -> int | None:
        """Return one of ``others`` that shares the reference attributes with ``row``; None where none is found."""
        wanted = self._attributes(row)
        drawn = rng.permutation(others)[:MAX_CANDIDATES]
        return next((int(other) for other in drawn if self._attributes(other) == wanted), None)

    def _attributes(self, row: int) -> tuple[object, ...]:
        """Reference attributes of a row, remembered: a search reads many records, and the same ones again and again."""
        found = self._known.get(row := int(row))
        if found is None:
            known = self.shards.record(row).get("attributes", {})
            found = tuple(known.get(key) for key in self.reference_attributes)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[row] = found
        return found


def _is_speech(shards: ShardSet, row: int) -> bool:
    return shards.rows[row].clip.task == Task.SPEECH
