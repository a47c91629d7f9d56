"""What one of two gloo processes does, with MASTER_ADDR, MASTER_PORT, RANK and WORLD_SIZE in its environment.

Each process adds its share of the rows; the figures of every scenario are written to OUT/RANK.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import distributed

from calm.metrics import Column, Figure, Rows, SetMetric, Trial, figures_of
from calm.metrics.intervals import mean
from calm.metrics.speed import Speed
from calm.metrics.wer import WordErrorRate

NUM_CLIPS, WIDTH = 9, 3
#: scenario -> which process adds the rows of a clip; -1 for none
SHARES: dict[str, Mapping[int, int]] = {
    "one rank has all": dict.fromkeys(range(NUM_CLIPS), 1),
    "uneven, out of order": {n: int(n in (7, 2)) for n in range(NUM_CLIPS)},
    "every second": {n: n % 2 for n in range(NUM_CLIPS)},
    "nobody has any": dict.fromkeys(range(NUM_CLIPS), -1),
}


class MeanRow(SetMetric):
    """Squared distance of the two sets' means, and the mean of the first number of a row in the order of the clips."""

    columns = (Column(key="apart", label="", better="lower"), Column(key="first", label="", better="lower"))

    def __init__(self) -> None:
        super().__init__(width=WIDTH)

    def measure(self, trial: Trial) -> np.ndarray:
        raise NotImplementedError

    def distance(self, rows: Rows, reference: Rows) -> dict[str, Figure]:
        apart = float(np.square(rows.values.mean(axis=0) - reference.values.mean(axis=0)).sum())
        first = mean(np.array([clip[:, 0].mean() for clip in rows.by_clip()]))
        return {"apart": Figure(value=apart, low=apart, high=apart, count=len(rows)), "first": first}


class WER(WordErrorRate):
    def measure(self, trial: Trial) -> np.ndarray:
        raise NotImplementedError


def figures(add: Mapping[int, int], rank: int | None) -> dict[str, dict[str, float]]:
    """Figures of three metrics; ``rank`` None adds the rows of all processes, in the order of the clips."""
    sets, wer, speed = MeanRow(), WER(), Speed()
    for clip in sorted(range(NUM_CLIPS), key=lambda n: -n if rank is not None else n):
        drawn = np.random.default_rng(clip)
        embeddings, words = drawn.normal(size=(1 + clip % 3, WIDTH)), 1 + clip
        if add[clip] < 0 or rank not in (None, add[clip]):
            continue
        sets.update(clip, embeddings)
        sets.update_reference(clip, drawn.normal(size=(2, WIDTH)))
        wer.update(clip, np.array([drawn.integers(0, words + 1) / 3, words]))
        speed.update(clip, np.array([drawn.uniform(1, 2), drawn.uniform(1, 9), drawn.uniform(), -1.0]))
    found = {}
    for metric in (sets, wer, speed):
        found |= {key: vars(figure) for key, figure in figures_of(metric.compute()).items()}
    return found


def main(out: Path) -> None:
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    (out / f"{rank}.json").write_text(json.dumps({name: figures(share, rank) for name, share in SHARES.items()}))
    distributed.destroy_process_group()
