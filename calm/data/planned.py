"""The default source: batches by plan, read at random from indexed shards, exactly resumable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from calm.data.batching import Batching, ByClips, ByFrames
from calm.data.examples import Example, ExampleReader
from calm.data.plan import Draw, Plan
from calm.data.source import BadClips, Source, SourceSettings
from calm.data.sources import open_sources
from calm.errors import ConfigError, DataError
from calm.registry import register

__all__ = ["PlannedSource"]


@register("source", "planned")
class PlannedSource(Source):
    """Exact mixture and exact resume: a pure function of (seed, step) over shards with indexes."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """``bucket_steps``: steps whose draws are sorted by length together; 1 sorts within the batch only. With a
        budget of frames more is better: 64 pads little."""

        name: Literal["planned"] = "planned"
        bucket_steps: int = 8

    def __init__(self, config: Config, *, settings: SourceSettings) -> None:
        if config.bucket_steps < 1:
            raise ConfigError(f"bucket_steps is {config.bucket_steps}", where="data.source.bucket_steps", allowed=">= 1")
        self.settings = settings
        self.shards, source_of = open_sources(settings.sources)
        self.fingerprint, self.latents = self.shards.fingerprint, self.shards.latents
        seconds = [min(row.clip.seconds, settings.cut.seconds) for row in self.shards.rows]
        self.plan = Plan(
            self.shards.by_task,
            seconds=seconds,
            batching=_batching(settings, max(seconds, default=0.0)),
            seed=settings.seed,
            weights_at=settings.weights_at,
            longest_at=settings.longest_at,
            bucket_steps=config.bucket_steps,
            source_of=source_of,
            source_weights=[source.weight for source in settings.sources],
        )
        self.reader = ExampleReader(
            self.shards,
            cut=settings.cut,
            reference_probability=settings.reference_probability,
            reference_attributes=settings.reference_attributes,
            seed=settings.seed,
        )
        self.bad_clips = BadClips(settings.bad_clips_path, max_share=settings.max_bad_share)

    def batches(self, *, first_step: int, worker: int, num_workers: int) -> Iterator[tuple[int, list[Example]]]:
        step = first_step + worker
        while True:
            yield step, self.examples(step)
            step += num_workers

    def examples(self, step: int) -> list[Example]:
        """Read this rank's rows of the batch of ``step``."""
        draws = self.plan.batch(step)[self.settings.rank :: self.settings.world_size]
        return [self._read(step, draw) for draw in draws]

    def state(self, step: int) -> dict[str, Any]:
        return self.plan.state(step)

    def seek(self, state: Mapping[str, Any]) -> None:
        self.plan.seek(state)

    def _read(self, step: int, draw: Draw) -> Example:
        """Read a draw; a clip that cannot be read is reported, and a spare of the same task takes its place."""
        spares = self.plan.spares(step, draw)
        row: int | None = None
        while True:
            try:
                example = self.reader.read(draw, row)
            except DataError as error:
                self.bad_clips.report(error, step=step)
                row = next(spares, None)
                if row is None:
                    raise
            else:
                self.bad_clips.good()
                return example


def _batching(settings: SourceSettings, longest_seconds: float) -> Batching:
    if settings.max_frames is None:
        return ByClips(settings.batch_size)
    budget = ByFrames(
        max_frames=settings.max_frames,
        longest_seconds=longest_seconds,
        frame_rate=settings.frame_rate,
        frame_multiple=settings.frame_multiple,
    )
    budget.check_ranks(settings.world_size)
    return budget
