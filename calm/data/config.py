"""Settings of the data, as they stand in ``conf/data/*.yaml``."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from calm.errors import ConfigError
from calm.types import TASKS

__all__ = ["DataConfig", "ShardSource"]


@dataclass(frozen=True, kw_only=True)
class ShardSource:
    """Shards that are drawn with a weight of their own.

    Args:
        name: what messages call it; no other source has it.
        weight: share among the sources that have clips of the task, relative to theirs; more than 0.
        urls: as ``data.train``.
    """

    name: str
    weight: float = 1.0
    urls: str

    def __post_init__(self) -> None:
        where = f"data.sources: {self.name or '(no name)'}"
        if not self.name:
            raise ConfigError("A source has no name", where=where, allowed="a word, for example speech_clean")
        if not self.urls.strip():
            raise ConfigError("A source names no shards", where=where, allowed="urls: a folder, a shard, or a glob")
        if not 0 < self.weight < math.inf:
            raise ConfigError(
                f"The weight is {self.weight:g}", where=where, allowed="more than 0", hint="leave out a source that is not drawn"
            )


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which shards, and how they become batches. The shares of the tasks are the curriculum's.

    Args:
        name: the option's name.
        source: a registered source and its options, for example ``{name: planned, bucket_steps: 8}``.
        train: folder of shards, a shard, or a glob; several joined by commas.
        sources: several sets of shards with weights, instead of ``train``, for example
            ``[{name: clean, weight: 3, urls: data_shards/clean}, {name: found, weight: 1, urls: data_shards/found}]``.
            Within a task, clips are drawn from the sources that have any, by these weights.
        validation: the same as ``train`` for held-out clips; None validates on nothing.
        batch_size: clips per step over all processes together.
        max_frames_per_batch: padded latent frames of targets per step over all processes together; a step then holds
            as many clips as fit, and ``batch_size`` is that of the validation. None holds ``batch_size`` clips.
        num_workers: reading processes per training process; 0 reads in the training process.
        max_seconds: longest clip; longer ones are cut.
        crop_seconds: None for whole clips with texts. A length gives random crops of it without texts, for
            the VAE.
        reference_probability: share of speech clips that get a reference clip of the same speaker.
        reference_attributes: attributes that a reference clip shares with its target, for speakers whose clips differ
            in what a listener would call the voice, for example ``[pitch, rate]``.
        text_style: ``description``, or ``raw`` for transcripts and captions alone.
        attribute_dropout: chance of each attribute to be left out of a description, by task; 0.3 where it is not named.
        augmentation: ``none`` or ``gain``.
        frame_multiple: batches are padded to a multiple of this many latents.
        num_validation_batches: batches of one validation.
        max_bad_share: share of unreadable clips above which training stops.
    """

    name: str = "default"
    source: dict[str, Any] = field(default_factory=lambda: {"name": "planned"})
    train: str = "data_shards/train"
    sources: tuple[ShardSource, ...] = ()
    validation: str | None = None
    batch_size: int = 16
    max_frames_per_batch: int | None = None
    num_workers: int = 2
    max_seconds: float = 30.0
    crop_seconds: float | None = None
    reference_probability: float = 0.5
    reference_attributes: tuple[str, ...] = ()
    text_style: str = "description"
    attribute_dropout: dict[str, float] = field(default_factory=dict)
    augmentation: str = "none"
    frame_multiple: int = 16
    num_validation_batches: int = 4
    max_bad_share: float = 0.001

    def __post_init__(self) -> None:
        object.__setattr__(self, "reference_attributes", tuple(self.reference_attributes))
        object.__setattr__(self, "sources", tuple(self.sources))
        names = Counter(source.name for source in self.sources)
        if twice := [name for name, count in names.items() if count > 1]:
            raise ConfigError(f"Two sources are called '{twice[0]}'", where="data.sources", allowed="a name for each")
        for key, least in (("batch_size", 1), ("num_workers", 0), ("frame_multiple", 1), ("num_validation_batches", 0)):
            if getattr(self, key) < least:
                raise ConfigError(f"{key} is {getattr(self, key)}", where=f"data.{key}", allowed=f"{least} or more")
        for key in ("max_seconds", "crop_seconds"):
            value = getattr(self, key)
            if value is not None and not 0 < value <= 3600:
                raise ConfigError(f"{key} is {value:g}", where=f"data.{key}", allowed="more than 0, at most 3600")
        for task in self.attribute_dropout:
            if task not in map(str, TASKS):
                where = f"data.attribute_dropout.{task}"
                raise ConfigError(f"Unknown task '{task}'", where=where, allowed=map(str, TASKS))
        if self.max_frames_per_batch is not None:
            self._check_frames(self.max_frames_per_batch)
        chances = {key: getattr(self, key) for key in ("reference_probability", "max_bad_share")}
        chances |= {f"attribute_dropout.{task}": chance for task, chance in self.attribute_dropout.items()}
        for key, chance in chances.items():
            if not 0 <= chance <= 1:
                raise ConfigError(f"{key} is {chance:g}", where=f"data.{key}", allowed="0 to 1")

    @property
    def train_sources(self) -> tuple[ShardSource, ...]:
        """The sources of the training clips; ``train`` is one."""
        return self.sources or (ShardSource(name="train", urls=self.train),)

    @property
    def train_urls(self) -> str:
        """The shards of all sources, joined by commas."""
        return ",".join(source.urls for source in self.train_sources)

    def _check_frames(self, frames: int) -> None:
        where = "data.max_frames_per_batch"
        if frames < 1:
            raise ConfigError(f"max_frames_per_batch is {frames}", where=where, allowed="1 or more, or null")
        if self.crop_seconds is not None:
            raise ConfigError(
                "Crops all have one length, so a budget of frames is a number of clips",
                where=where,
                allowed="null",
                hint="set data.batch_size",
            )
