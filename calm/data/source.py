"""What a source of training examples offers, and how unreadable clips are counted."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calm.data.config import ShardSource
from calm.data.cut import Cutter
from calm.data.examples import Example
from calm.data.latents import LatentFormat
from calm.errors import DataError

__all__ = ["BadClips", "Source", "SourceSettings"]


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """What every source is built with, beside its own ``Config``.

    Args:
        sources: shards with weights; their ``urls`` are folders, shards or globs (or URLs, where the source can).
        batch_size: rows of the *global* batch. rank, world_size: the part that this process gets.
        max_frames: padded latent frames of the global batch, which then holds as many rows as fit; None holds
            ``batch_size``.
        frame_rate: latents a second. frame_multiple: batches are padded to a multiple of this many latents.
        seed: of every random decision.
        weights_at: step -> weight of every task.
        longest_at: step -> seconds of the longest clip that may be drawn, by task; None draws any.
        cut: which part of a clip is used.
        reference_probability: share of speech rows that get a reference clip of the same speaker.
        reference_attributes: attributes that the reference shares with its target.
        bad_clips_path: JSONL that lists clips that could not be read; None keeps no file.
        max_bad_share: share of unreadable clips above which training stops.
    """

    sources: tuple[ShardSource, ...]
    batch_size: int
    seed: int
    weights_at: Callable[[int], Mapping[str, float]]
    cut: Cutter
    max_frames: int | None = None
    frame_rate: float = 1.0
    frame_multiple: int = 1
    reference_probability: float = 0.0
    reference_attributes: tuple[str, ...] = ()
    longest_at: Callable[[int], Mapping[str, float]] | None = None
    rank: int = 0
    world_size: int = 1
    bad_clips_path: Path | None = None
    max_bad_share: float = 0.001


class Source(ABC):
    """Gives the examples of every training step. Built as ``Class(config, settings=SourceSettings(...))``."""

    #: changes when the data changes; exact resume needs it to be the same
    fingerprint: str
    #: what latents the shards hold; None for audio
    latents: LatentFormat | None = None

    @abstractmethod
    def batches(self, *, first_step: int, worker: int, num_workers: int) -> Iterator[tuple[int, list[Example]]]:
        """Yield (step, examples of this rank) for ``first_step + worker``, then every ``num_workers``-th step, forever."""

    @abstractmethod
    def state(self, step: int) -> dict[str, Any]:
        """Return JSON values that make ``seek`` to ``step`` quick; empty where there is nothing to keep."""

    @abstractmethod
    def seek(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned."""


class BadClips:
    """Counts clips that cannot be read, lists them in a file, and stops where they are too many."""

    #: reads before the share is judged, so that one bad clip at the start is not yet a bad share
    MIN_READS = 1000

    def __init__(self, path: Path | None, *, max_share: float) -> None:
        self.path, self.max_share = path, max_share
        self.reads = self.bad = 0

    def good(self) -> None:
        self.reads += 1

    def report(self, error: DataError, *, step: int) -> None:
        """Note one clip; raises DataError where the share of bad clips is above the maximum."""
        self.reads += 1
        self.bad += 1
        if self.path is not None:
            line = json.dumps({"step": step, "where": str(error.where), "reason": error.what}) + "\n"
            # One short write in append mode: the lines of several workers do not mix.
            with open(self.path, "ab", buffering=0) as file:
                file.write(line.encode())
        if self.bad > self.max_share * max(self.reads, self.MIN_READS):
            raise DataError(
                f"{self.bad} of {self.reads} clips could not be read, the last one: {error.what}",
                where=error.where,
                allowed=f"a share of {self.max_share:g}",
                hint=f"calm shards check FOLDER; process {os.getpid()} listed them in {self.path}",
            ) from error
