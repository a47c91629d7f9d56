"""Stages of damage, measured: rows of every clip, figures of every stage and seed, and whether they are in order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.damage_stages import mp3, noised
from calm import audio
from calm.evaluation.manifest import ManifestItem
from calm.evaluation.reconstruction import reconstruct
from calm.metrics import ClipMetric, SetMetric, Trial, Unscored, figures_of
from calm.types import Waveform

__all__ = ["CODEC", "VAE", "by_seed", "in_order", "measured", "order_rows", "rows_of", "value_of"]

VAE, CODEC = "VAE of mini", "MP3 16 kbit/s"

Damage = Callable[[Waveform], Waveform]
#: stage -> value, for each seed
Values = Mapping[str, Sequence[float]]
#: rows of a clip; None where the metric does not score it
ClipRows = np.ndarray | None
#: stage -> seed -> rows of each clip
StageRows = dict[str, list[list[ClipRows]]]


def in_order(key: str, stages: Mapping[str, float]) -> bool:
    """Whether each stage is worse than the one before; distances and errors grow, the others fall."""
    values = list(stages.values())
    grows = key.startswith(("wer", "fad", "kad"))
    return all(a < b if grows else a > b for a, b in itertools.pairwise(values))


def order_rows(key: str, values: Values, *, last: str | None, snrs: Sequence[int]) -> list[dict[str, Any]]:
    """One row for each reconstruction and level of noise: means, extremes, and in how many seeds the order holds."""
    rows = []
    for codec, snr in itertools.product((VAE, CODEC), snrs):
        stages = ["original", codec, f"noised {snr} dB", *([last] if last else [])]
        seeds = range(max(len(values[stage]) for stage in stages))
        means = {stage: float(np.mean(values[stage])) for stage in stages}
        trials = [{stage: by_seed(values[stage], number) for stage in stages} for number in seeds]
        rows.append(
            {
                "metric": key,
                "reconstruction": codec,
                "snr": snr,
                "mean": means,
                "range": {stage: [float(min(values[stage])), float(max(values[stage]))] for stage in stages},
                "holds": in_order(key, means),
                "seeds_in_order": sum(in_order(key, each) for each in trials),
                "seeds": len(seeds),
            }
        )
    return rows


def damages(vae: Any, snrs: Sequence[int], number: int, seeds: int) -> dict[str, list[Damage]]:
    """Stage -> what is done to clip ``number``: once where no chance is in it, else once for each seed."""
    stages: dict[str, list[Damage]] = {"original": [lambda clip: clip], CODEC: [mp3]}
    stages[VAE] = [lambda clip: reconstruct(vae, clip)]
    for snr in snrs:
        stages[f"noised {snr} dB"] = [
            lambda clip, seed=seed, snr=snr: noised(clip, snr=snr, seed=1000 * seed + number) for seed in range(seeds)
        ]
    return stages


def rows_of(
    metrics: Sequence[ClipMetric], entries: Sequence[ManifestItem], vae: Any, *, snrs: Sequence[int], seeds: int
) -> list[StageRows]:
    """For each metric, the rows of every stage, seed of the noise and clip."""
    found: list[StageRows] = [{} for _ in metrics]
    for number, entry in enumerate(entries):
        target = audio.read(entry.target)
        reference = None if entry.reference is None else audio.read(entry.reference)
        for stage, versions in damages(vae, snrs, number, seeds).items():
            for seed, damage in enumerate(versions):
                trial = Trial(item=entry.item, clip=damage(target), target=target, reference=reference)
                for metric, kept in zip(metrics, found, strict=True):
                    kept.setdefault(stage, [[] for _ in versions])[seed].append(measured(metric, trial))
    return found


def measured(metric: ClipMetric, trial: Trial) -> ClipRows:
    try:
        return metric.measure(trial)
    except Unscored:
        return None


def value_of(metric: ClipMetric, key: str, clips: Sequence[ClipRows], reference: Sequence[ClipRows] = ()) -> float:
    """The figure ``key`` of clips; of a distance, to ``reference``."""
    metric.reset()
    for number, rows in enumerate(clips):
        if rows is not None:
            metric.update(number, rows)
    if isinstance(metric, SetMetric):
        for number, rows in enumerate(reference):
            if rows is not None:
                metric.update_reference(number, rows)
    return figures_of(metric.compute())[key].value


def by_seed(versions: Sequence[Any], number: int) -> Any:
    """The version of a seed; where there are fewer versions than seeds, they come round again."""
    return versions[number % len(versions)]
