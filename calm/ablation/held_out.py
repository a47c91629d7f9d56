"""What the runs are judged by: the flow error on fixed held-out clips with fixed noise, by clip and noise level."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from einops import rearrange, reduce
from torch import Tensor

from calm.config import RunConfig
from calm.data.augment import unchanged
from calm.data.examples import ExampleReader
from calm.data.loader import FixedBatches, build_loader
from calm.data.plan import Draw, generator
from calm.data.shards import ShardSet
from calm.errors import DataError
from calm.model.flow import FlowTerms
from calm.model.generator import Generator
from calm.training.fit import build_data
from calm.training.steps import seed_of
from calm.types import Batch, Task

__all__ = ["ClipErrors", "HeldOut"]

#: times that every clip is judged, each with noise and flow times of its own
NUM_DRAWS = 4
#: clips judged at once; part of what is fixed, as the noise is drawn batch by batch
BATCH_SIZE = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipErrors:
    """Errors of one run on the held-out clips of one task, over all draws of noise.

    keys: the clips; error: summed squared error by clip and noise level; frames: how many frames it sums over.
    """

    keys: list[str]
    error: list[list[float]]
    frames: list[list[float]]


class HeldOut:
    """The held-out clips of an ablation. Clips, excerpts, references and noise are the same for every run.

    Args:
        shards: where they are. clips: most clips of each task; they are chosen once, at random.
        num_bins: noise levels.
    Raises DataError where a task has no clips.
    """

    def __init__(self, shards: str, *, clips: int, num_bins: int) -> None:
        self.shards, self.num_bins = ShardSet.open(shards), num_bins
        self.draws: dict[Task, list[Draw]] = {}
        for task, rows in self.shards.by_task.items():
            if not rows:
                raise DataError(f"There are no held-out clips of {task}", where=shards, hint="set data.validation")
            order = generator(0, "held out", task.id).permutation(rows)[:clips]
            draws = [Draw(task, int(row), 0) for row in order]
            self.draws[task] = sorted(draws, key=lambda draw: self.shards.rows[draw.row].clip.seconds)

    @torch.no_grad()
    def errors(self, root: Generator, config: RunConfig, task: Task, *, device: torch.device) -> ClipErrors:
        """Judge a model, in eval mode and with its texts in the style of its run, on the clips of ``task``."""
        root = root.to(device).eval()
        keys, sums = [], []
        for number, batch in enumerate(self._batches(root, config, task)):
            total = 0
            for draw in range(NUM_DRAWS):
                noise = torch.Generator().manual_seed(seed_of("ablation", task, number, draw))
                total = total + _by_clip(root.flow_terms(batch.to(device), noise), num_bins=self.num_bins).cpu()
            keys += batch.keys
            sums.append(total)
        error, frames = torch.cat(sums, dim=1).tolist()
        return ClipErrors(keys=keys, error=error, frames=frames)

    def _batches(self, root: Generator, config: RunConfig, task: Task) -> Iterator[Batch]:
        data = build_data(config, root)
        reader = ExampleReader(
            self.shards, cut=data.cut, reference_probability=config.data.reference_probability, seed=0
        )
        draws = self.draws[task]
        batches = [draws[i : i + BATCH_SIZE] for i in range(0, len(draws), BATCH_SIZE)]
        collate = dataclasses.replace(data.collate, augment=unchanged)
        return iter(build_loader(FixedBatches(reader, collate, batches), num_workers=0))


def _by_clip(terms: FlowTerms, *, num_bins: int) -> Tensor:
    """Summed squared errors and frames, [2, B, num_bins]."""
    level = (terms.time * num_bins).long().clamp(0, num_bins - 1)
    member = torch.nn.functional.one_hot(level, num_bins) * rearrange(terms.valid, "b f -> b 1 f 1")
    error = terms.error.double()[..., None] * member
    return torch.stack([reduce(values.double(), "b m f bin -> b bin", "sum") for values in (error, member)])
