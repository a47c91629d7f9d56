"""Choosing the stop threshold of a trained model on clips that it was not trained on.

    data = CalmDataModule(config.data, sample_rate=..., channels=..., hop=..., tokenizer=model.tokenizer)
    found = calibrate_stop(taught_curves(model, data.val_dataloader()))
    store_stop_threshold("runs/mini/export", found.threshold)

``taught_curves`` says where the stop head sees the end of recordings. ``generated_curves`` also counts the
model's own pace; a model that has not learned to speak yet only gets lengths right by chance there.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from calm.config import load_config_file, save_config
from calm.errors import CheckpointError, InputError
from calm.generation.config import SamplerConfig
from calm.generation.course import Settings
from calm.generation.sampler import sample_blocks
from calm.model.flow import Targets, target_latents
from calm.model.generator import Generator
from calm.types import Batch, Task

__all__ = [
    "StopCalibration",
    "StopCurve",
    "calibrate_stop",
    "generated_curves",
    "store_stop_threshold",
    "taught_curves",
]

#: the thresholds that are tried
THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(1, 100))
#: a generated clip is followed until it is so many times as long as the recording
LONGEST_RATIO = 2.0


@dataclass(frozen=True, kw_only=True)
class StopCurve:
    """Stop probabilities [F] of one clip, frame after frame, and the frames that its recording has."""

    probabilities: np.ndarray
    num_frames: int

    def length(self, threshold: float) -> int:
        """Frames up to the stop; one more than were followed where there is none."""
        above = np.flatnonzero(self.probabilities > threshold)
        return int(above[0]) + 1 if len(above) else len(self.probabilities) + 1

    def error(self, threshold: float) -> float:
        """Signed relative error of the length: 0.1 is a tenth too long."""
        return self.length(threshold) / self.num_frames - 1


@dataclass(frozen=True, kw_only=True)
class StopCalibration:
    """The threshold found, and over the clips the median of the absolute and of the signed length error."""

    threshold: float
    median_error: float
    median_bias: float
    num_clips: int


def calibrate_stop(curves: Iterable[StopCurve], *, thresholds: Sequence[float] = THRESHOLDS) -> StopCalibration:
    """Return the threshold with the least median relative length error; the mean error and then nearness to 0.5
    decide between equals. Raises InputError where there is no curve."""
    curves = list(curves)
    if not curves:
        raise InputError("There is no speech to calibrate with", where="curves", hint="whole clips of speech, held out")

    def cost(threshold: float) -> tuple[float, float, float]:
        errors = [abs(curve.error(threshold)) for curve in curves]
        return statistics.median(errors), statistics.fmean(errors), abs(threshold - 0.5)

    best = min(thresholds, key=cost)
    return StopCalibration(
        threshold=best,
        median_error=cost(best)[0],
        median_bias=statistics.median(curve.error(best) for curve in curves),
        num_clips=len(curves),
    )


@torch.no_grad()
def taught_curves(model: Generator, batches: Iterable[Batch]) -> Iterator[StopCurve]:
    """Curves of the recordings themselves: one pass over each batch, cheap, but blind to the model's own pace."""
    block_size, device = model.config.block_sizes[0], model.null_text.device
    for batch in batches:
        batch = _speech(batch).to(device)
        if not len(batch):
            continue
        targets = Targets.prepare(
            target_latents(model.vae, batch, block_size=block_size),
            num_frames=_num_frames(model, batch),
            complete=batch.complete,
            task=batch.task,
            block_size=block_size,
            num_copies=1,
            generator=torch.Generator().manual_seed(0),
        )
        clean = torch.ones_like(targets.latents[..., 0])
        logits = model.predict(model.prompt_of(batch), targets, history=targets.latents, history_time=clean)[1]
        probabilities = torch.sigmoid(logits.float()).cpu().numpy()
        for row, valid, length in zip(
            probabilities, targets.num_valid.tolist(), targets.num_frames.tolist(), strict=True
        ):
            yield StopCurve(probabilities=row[:valid], num_frames=length)


def generated_curves(
    model: Generator, batches: Iterable[Batch], *, sampler: SamplerConfig, seed: int = 0
) -> Iterator[StopCurve]:
    """Curves of speech that the model makes from the same texts and references, as it will in use.

    The threshold has no part in how blocks are sampled, so one rollout, to twice the length of each
    batch's longest recording, tells the length at every threshold.
    """
    for batch in batches:
        batch = _speech(batch).to(model.null_text.device)
        if not len(batch):
            continue
        lengths = _num_frames(model, batch).tolist()
        settings = _settings(model, sampler, seeds=range(seed, seed + len(batch)))
        seed += len(batch)
        followed, pieces = int(LONGEST_RATIO * max(lengths)), []
        for block in sample_blocks(model, model.prompt_of(batch), settings=settings):
            pieces.append(block.stop.cpu().numpy())
            if settings.block_size * len(pieces) >= followed:
                break
        for row, length in zip(np.concatenate(pieces, axis=1), lengths, strict=True):
            yield StopCurve(probabilities=row[: int(LONGEST_RATIO * length)], num_frames=length)


def store_stop_threshold(folder: str | Path, threshold: float) -> Path:
    """Write ``sampler.stop_threshold`` into the ``config.yaml`` of an exported model; return that file."""
    path = Path(folder) / "config.yaml"
    if not path.is_file():
        raise CheckpointError("No config.yaml in the checkpoint folder", where=folder, allowed="an exported model")
    config = load_config_file(path, imports="refuse")
    sampler = dataclasses.replace(config.sampler, stop_threshold=threshold)
    return save_config(dataclasses.replace(config, sampler=sampler), path)


def _speech(batch: Batch) -> Batch:
    """The clips of speech that end where their recordings end."""
    chosen = (batch.task == Task.SPEECH.id) & batch.complete
    rows = {
        item.name: value[chosen]
        for item in dataclasses.fields(batch)
        if isinstance(value := getattr(batch, item.name), torch.Tensor)
    }
    keys = tuple(key for key, kept in zip(batch.keys, chosen.tolist(), strict=False) if kept)
    return dataclasses.replace(batch, **rows, keys=keys)


def _num_frames(model: Generator, batch: Batch) -> torch.Tensor:
    return (-(-batch.num_samples // model.vae.hop)).clamp_min(1)


def _settings(model: Generator, sampler: SamplerConfig, *, seeds: range) -> Settings:
    return Settings(
        num_steps=sampler.num_steps,
        solver=sampler.solver,
        grid=sampler.grid,
        guidance=sampler.guidance,
        guidance_interval=tuple(sampler.guidance_interval),
        block_size=sampler.block_size or model.config.block_sizes[0],
        history_time=sampler.history_time_speech,
        window_blocks=sampler.window_blocks or None,
        cfg_scale=(sampler.cfg_scale_speech,) * len(seeds),
        temperature=(sampler.temperature_speech,) * len(seeds),
        seeds=tuple(seeds),
        reads_both=model.head.reads_both,
    )
