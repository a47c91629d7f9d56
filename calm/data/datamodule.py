"""`CalmDataModule`: shards -> batches for Lightning, resumable to the exact batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from calm import registry
from calm.data.augment import augmentation, unchanged
from calm.data.collate import Collate, crop_samples
from calm.data.config import DataConfig
from calm.data.cut import ClipCut, RandomCrop
from calm.data.describe import DescriptionEncoder, no_text
from calm.data.examples import ExampleReader
from calm.data.latents import LatentFormat, check_hash
from calm.data.loader import Batches, FixedBatches, build_loader
from calm.data.plan import Draw, generator
from calm.data.shards import ShardSet
from calm.data.source import Source, SourceSettings
from calm.errors import CheckpointError, ConfigError
from calm.text import Describer, Tokenizer
from calm.types import TASKS

__all__ = ["CalmDataModule"]


class CalmDataModule(LightningDataModule):
    """Training batches by plan from ``next_step`` on, without end; validation batches always the same.

    Args:
        config: which shards, and how they become batches.
        sample_rate, channels, hop: of the VAE; ``hop`` is samples per latent.
        tokenizer: of the model; None where ``config.crop_seconds`` makes batches without texts, or for a
            model that has none.
        vae_hash: of the model's VAE, which latent shards must have been made by; None for a model that trains on
            waveforms and takes no latents.
        weights_at: optimizer step -> weight of every task; by default the tasks that are there, equally.
        longest_at: optimizer step -> seconds of the longest clip of a task that may be drawn; None draws any.
        seed: of every random decision.
        bad_clips_path: JSONL that lists clips that could not be read; None keeps no file.
    """

    def __init__(
        self,
        config: DataConfig,
        *,
        sample_rate: int,
        channels: int,
        hop: int,
        tokenizer: Tokenizer | None = None,
        vae_hash: str | None = None,
        weights_at: Callable[[int], Mapping[str, float]] | None = None,
        longest_at: Callable[[int], Mapping[str, float]] | None = None,
        seed: int = 0,
        bad_clips_path: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.config, self.seed, self.weights_at = config, seed, weights_at
        self.longest_at = longest_at
        self.sample_rate, self.hop, self.vae_hash = sample_rate, hop, vae_hash
        self.bad_clips_path = None if bad_clips_path is None else Path(bad_clips_path)
        encode = no_text
        if config.crop_seconds is None and tokenizer is not None:
            encode = DescriptionEncoder(Describer(style=config.text_style, attribute_dropout=config.attribute_dropout), tokenizer)
        self.collate = self._build_collate(encode, channels)
        self.cut = ClipCut(config.max_seconds)
        if config.crop_seconds is not None:
            self.cut = RandomCrop(self.collate.max_samples / sample_rate)
        self.next_step = 0
        self.source: Source | None = None
        self._place: tuple[int, int, int] | None = None

    def setup(self, stage: str | None = None) -> None:
        """Open the training shards for this process's place; called again, it does so only if the place changed."""
        place = self._find_place()
        if place == self._place:
            return
        rank, world_size, accumulation = place
        if self.config.batch_size % world_size:
            raise ConfigError(
                f"A global batch of {self.config.batch_size} cannot be shared by {world_size} processes",
                where="data.batch_size",
                allowed=f"a multiple of {world_size}",
            )
        weights_at = self.weights_at or self._equal_weights()
        settings = SourceSettings(
            sources=self.config.train_sources,
            batch_size=self.config.batch_size,
            seed=self.seed,
            weights_at=_PerOptimizerStep(weights_at, accumulation),
            longest_at=None if self.longest_at is None else _PerOptimizerStep(self.longest_at, accumulation),
            cut=self.cut,
            max_frames=self.config.max_frames_per_batch,
            frame_rate=self.sample_rate / self.hop,
            frame_multiple=self.config.frame_multiple,
            reference_probability=self._reference_probability,
            reference_attributes=self.config.reference_attributes,
            rank=rank,
            world_size=world_size,
            bad_clips_path=self.bad_clips_path,
            max_bad_share=self.config.max_bad_share,
        )
        self.source = registry.build("source", dict(self.config.source), settings=settings)
        self._check_latents(self.source.latents, where=self.config.train_urls)
        self._place = place

    def train_dataloader(self) -> DataLoader[Any]:
        self.setup()
        dataset = Batches(self.source, self.collate, first_step=self.next_step)
        return build_loader(dataset, num_workers=self.config.num_workers)

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """The held-out clips in a fixed order, as many of each task as there are, without augmentation."""
        if not self.config.validation or not self.config.num_validation_batches:
            return []
        rank, world_size, _ = self._find_place()
        shards = ShardSet.open(self.config.validation)
        self._check_latents(shards.latents, where=self.config.validation)
        # The run's seed must not change what a model is judged by.
        reader = ExampleReader(
            shards,
            cut=self.cut,
            reference_probability=self._reference_probability,
            reference_attributes=self.config.reference_attributes,
            seed=0,
        )
        batches = _validation_draws(shards, self.config.batch_size, self.config.num_validation_batches, world_size)
        collate = dataclasses.replace(self.collate, augment=unchanged)
        dataset = FixedBatches(reader, collate, [batch[rank::world_size] for batch in batches])
        return build_loader(dataset, num_workers=min(1, self.config.num_workers))

    def state_dict(self) -> dict[str, Any]:
        """Where the plan stands: the same on every rank, and independent of ranks and workers."""
        self.setup()
        return {"next_step": self.next_step, "plan": self.source.state(self.next_step), **self._identity()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue at the saved step; raises CheckpointError where data, seed or batch size are others."""
        self.setup()
        for name, value in self._identity().items():
            if state_dict.get(name) != value:
                raise CheckpointError(
                    f"The checkpoint was made with another {name}: {state_dict.get(name)!r}, now {value!r}",
                    where="data",
                    hint="resume with the shards and settings of the run, or start a new run from its weights",
                )
        self.next_step = int(state_dict["next_step"])
        self.source.seek(state_dict["plan"])

    def _identity(self) -> dict[str, Any]:
        return {
            "fingerprint": self.source.fingerprint,
            "source": dict(self.config.source),
            "seed": self.seed,
            "batch_size": self.config.batch_size,
            # None, as in checkpoints from before there were such things
            "max_frames_per_batch": self.config.max_frames_per_batch,
            "sources": [[source.name, source.weight] for source in self.config.sources] or None,
        }

    @property
    def _reference_probability(self) -> float:
        return 0.0 if self.collate.encode is no_text else self.config.reference_probability

    def _check_latents(self, latents: LatentFormat | None, *, where: str) -> None:
        """Raise DataError or ConfigError where shards hold latents that this run cannot use."""
        if latents is None:
            return
        check_hash(latents, expected=self.vae_hash, where=where)
        for key, given, allowed in (
            ("augmentation", self.config.augmentation, "none"),
            ("crop_seconds", self.config.crop_seconds, None),
        ):
            if given != allowed:
                raise ConfigError(
                    f"{key} is {given}, which needs waveforms, but the shards hold latents",
                    where=f"data.{key}",
                    allowed=str(allowed),
                    hint=f"train on audio shards, or set data.{key}={'null' if allowed is None else allowed}",
                )

    def _build_collate(self, encode: Any, channels: int) -> Collate:
        config = self.config
        seconds = config.max_seconds if config.crop_seconds is None else config.crop_seconds
        size = crop_samples(seconds, sample_rate=self.sample_rate, hop=self.hop)
        return Collate(
            sample_rate=self.sample_rate,
            channels=channels,
            hop=self.hop,
            encode=encode,
            augment=augmentation(config.augmentation),
            max_samples=size,
            min_samples=0 if config.crop_seconds is None else size,
            frame_multiple=config.frame_multiple if config.crop_seconds is None else 1,
        )

    def _find_place(self) -> tuple[int, int, int]:
        """Return (rank, world size, batches per optimizer step) of the trainer, or of torch.distributed."""
        if self.trainer is not None:
            return self.trainer.global_rank, self.trainer.world_size, self.trainer.accumulate_grad_batches
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size(), 1
        return 0, 1, 1

    def _equal_weights(self) -> Callable[[int], Mapping[str, float]]:
        shards = ShardSet.open(self.config.train_urls)
        return _Constant({str(task): 1.0 for task in TASKS if shards.by_task[task]})


class _Constant:
    """The same weights at every step; a class, because workers that are spawned pickle it."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = weights

    def __call__(self, step: int) -> Mapping[str, float]:
        return self.weights


class _PerOptimizerStep:
    """Turns the plan's steps (batches) into optimizer steps, which the curriculum counts in."""

    def __init__(self, rule: Callable[[int], Mapping[str, float]], accumulation: int) -> None:
        self.rule, self.accumulation = rule, accumulation

    def __call__(self, step: int) -> Mapping[str, float]:
        return self.rule(step // self.accumulation)


def _validation_draws(shards: ShardSet, batch_size: int, num_batches: int, world_size: int) -> list[list[Draw]]:
    """Return global batches of similar length, tasks in turn; a last batch that the ranks cannot share is trimmed."""
    orders = {
        task: [int(row) for row in generator(0, "validation", task.id).permutation(shards.by_task[task])]
        for task in TASKS
        if shards.by_task[task]
    }
    turns = [
        Draw(task, order[turn], 0)
        for turn in range(max(map(len, orders.values()), default=0))
        for task, order in orders.items()
        if turn < len(order)
    ]
    chosen = sorted(turns[: batch_size * num_batches], key=lambda draw: shards.rows[draw.row].clip.seconds)
    chosen = chosen[: len(chosen) // world_size * world_size]
    return [chosen[i : i + batch_size] for i in range(0, len(chosen), batch_size)]
