"""Do the scorers put audio in the right order? On real recordings and on held-out clips of the corpus.

    calm corpus runs/corpus --seconds 21600
    python benchmarks/clap_small.py runs/corpus runs/clap_small
    python benchmarks/metric_order.py RESULT.json --real ../shared/real --corpus runs/corpus --clap runs/clap_small

The protocol. After a first look at both sources, with another embedding, three draws of the sets became ten, a row holds in
the means rather than in every seed (both are in the result), and the delay of MP3 was removed:

- WER and CLAP: original, reconstruction, noised, shuffled text. SIM and DNSMOS: original, reconstruction, noised. FAD and
  KAD: held-out originals, reconstruction, noised, another kind. One row for each reconstruction and level of noise.
- Reconstruction is by the VAE of `mini`, which was trained on the corpus (not on its split ``test``), and by MP3 at
  16 kbit/s, 16 kHz, mono, which was made for neither: damage that anyone hears and that takes no word away.
- White noise lies below each clip's own level by 10 dB for speech, and by 10, 15 and 20 dB for the others.
- Three seeds of the noise and of the other clip whose text is taken, ten of the sets. A row holds where the means over
  seeds are in order; in how many of the seeds it holds is beside it.
- Real sets are random halves. Of the corpus, the judged clips are the split ``test`` and the reference is 200 clips
  drawn from 400 of ``train``. The other kind of sounds is music, that of music is speech.
- Clips are spread over their list, never chosen. A shuffled text is another text than the clip's own.
- FAD, KAD and the CLAP score are also taken by a small CLAP that was trained on the corpus (``clap_small.py``); real
  recordings are nothing that it knows.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.damage_stages import mp3, noised, shuffled
from calm import AudioCALM, audio
from calm.audio import write_bytes
from calm.evaluation.choose import choose_metrics, component
from calm.evaluation.machine import machine_record
from calm.evaluation.manifest import Manifest, ManifestItem, first_items
from calm.evaluation.reconstruction import reconstruct
from calm.metrics import ClipMetric, SetMetric, Trial, Unscored, figures_of
from calm.types import Task, Waveform

__all__ = ["in_order", "order_rows", "set_values"]

NOISE_SEEDS, SET_SEEDS = (0, 1, 2), tuple(range(10))
SPEECH_SNRS, SET_SNRS = (10,), (10, 15, 20)
REFERENCES, POOL = 200, 400
OTHER = {Task.SOUND: Task.MUSIC, Task.MUSIC: Task.SPEECH}
VAE, CODEC = "VAE of mini", "MP3 16 kbit/s"

Damage = Callable[[Waveform], Waveform]
#: stage -> value, for each seed
Values = Mapping[str, Sequence[float]]


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


def of_task(manifest: Manifest, task: Task) -> list[ManifestItem]:
    return [entry for entry in manifest.items if entry.item.task is task]


def damages(vae: Any, snrs: Sequence[int], number: int) -> dict[str, list[Damage]]:
    """Stage -> what is done to clip ``number``: once where no chance is in it, else once for each seed."""
    stages: dict[str, list[Damage]] = {"original": [lambda clip: clip], CODEC: [mp3]}
    stages[VAE] = [lambda clip: reconstruct(vae, clip)]
    for snr in snrs:
        stages[f"noised {snr} dB"] = [
            lambda clip, seed=seed, snr=snr: noised(clip, snr=snr, seed=1000 * seed + number) for seed in NOISE_SEEDS
        ]
    return stages


def rows_of(
    metrics: Sequence[ClipMetric], entries: Sequence[ManifestItem], vae: Any, snrs: Sequence[int]
) -> list[dict[str, list[list[np.ndarray | None]]]]:
    """For each metric, stage -> seed -> rows of each clip; None for a clip that the metric does not score."""
    found: list[dict[str, list[list[np.ndarray | None]]]] = [{} for _ in metrics]
    for number, entry in enumerate(entries):
        target = audio.read(entry.target)
        reference = None if entry.reference is None else audio.read(entry.reference)
        for stage, versions in damages(vae, snrs, number).items():
            for seed, damage in enumerate(versions):
                trial = Trial(item=entry.item, clip=damage(target), target=target, reference=reference)
                for metric, kept in zip(metrics, found, strict=True):
                    kept.setdefault(stage, [[] for _ in versions])[seed].append(measured(metric, trial))
    return found


def measured(metric: ClipMetric, trial: Trial) -> np.ndarray | None:
    try:
        return metric.measure(trial)
    except Unscored:
        return None


def value_of(metric: ClipMetric, key: str, clips: Sequence[np.ndarray | None], reference: Sequence[np.ndarray] = ()) -> float:
    metric.reset()
    for number, rows in enumerate(clips):
        if rows is not None:
            metric.update(number, rows)
    if isinstance(metric, SetMetric):
        for number, rows in enumerate(reference):
            metric.update_reference(number, rows)
    return figures_of(metric.compute())[key].value


def by_seed(versions: Sequence[Any], number: int) -> Any:
    """The version of a seed; where there are fewer versions than seeds, they come round again."""
    return versions[number % len(versions)]


def clip_values(metric: ClipMetric, key: str, rows: Mapping[str, list[list[np.ndarray | None]]]) -> dict[str, list[float]]:
    return {stage: [value_of(metric, key, clips) for clips in versions] for stage, versions in rows.items()}


def with_references(entries: Sequence[ManifestItem]) -> list[ManifestItem]:
    """Items with a reference: that of the list, or else the next clip of the same speaker."""
    if all(entry.reference is not None for entry in entries):
        return list(entries)
    by_speaker: dict[str, list[ManifestItem]] = {}
    for entry in entries:
        by_speaker.setdefault(entry.item.labels[0] if entry.item.labels else "", []).append(entry)
    groups = [group for group in by_speaker.values() if len(group) > 1]
    return [
        replace(entry, reference=other.target)
        for group in groups
        for entry, other in zip(group, group[1:] + group[:1], strict=True)
    ]


def text_order(metric: ClipMetric, key: str, entries: Sequence[ManifestItem], rows: Any, *, snrs: Sequence[int], seeds: int):
    """Rows of a metric that reads the text; a wrong text is heard with the untouched clip, for ``seeds`` shuffles."""
    values = clip_values(metric, key, rows)
    wrong = []
    for seed in NOISE_SEEDS[:seeds]:
        trials = [Trial(item=entry.item, clip=audio.read(entry.target)) for entry in shuffled(entries, seed)]
        wrong.append(value_of(metric, key, [measured(metric, trial) for trial in trials]))
    values["shuffled text"] = wrong
    return order_rows(key, values, last="shuffled text", snrs=snrs)


def speech_order(manifest: Manifest, vae: Any, out: Path) -> list[dict[str, Any]]:
    """WER, SIM and DNSMOS. Words are recognised once for a wrong text: recognition is most of the time."""
    speech = replace(manifest, items=tuple(with_references(of_task(manifest, Task.SPEECH))))
    metrics = choose_metrics(["wer", "sim", "dnsmos"], {}, speech, device="cpu", folder=out)
    wer, sim, dnsmos = (metrics[name] for name in ("wer", "sim", "dnsmos"))
    words, voices, quality = rows_of([wer, sim, dnsmos], speech.items, vae, SPEECH_SNRS)
    return [
        *text_order(wer, "wer_pooled", speech.items, words, snrs=SPEECH_SNRS, seeds=1),
        *order_rows("sim", clip_values(sim, "sim", voices), last=None, snrs=SPEECH_SNRS),
        *order_rows("dnsmos_ovrl", clip_values(dnsmos, "dnsmos_ovrl", quality), last=None, snrs=SPEECH_SNRS),
    ]


def set_values(
    metric: SetMetric,
    key: str,
    rows: Mapping[str, list[list[np.ndarray]]],
    other: Sequence[np.ndarray],
    pool: Sequence[np.ndarray] | None,
) -> dict[str, list[float]]:
    """Distance of every stage for each seed; ``pool`` None halves the originals, else references are drawn from it."""
    count = len(rows["original"][0])
    values: dict[str, list[float]] = {stage: [] for stage in (*rows, "another kind")}
    for number in SET_SEEDS:
        rng = np.random.default_rng(number)
        order = rng.permutation(count if pool is None else len(pool))
        judged = order[count // 2 :] if pool is None else range(count)
        source, drawn = (rows["original"][0], order[: count // 2]) if pool is None else (pool, order[:REFERENCES])
        reference = [source[each] for each in drawn]
        for stage, versions in rows.items():
            clips = by_seed(versions, number)
            values[stage].append(value_of(metric, key, [clips[each] for each in judged], reference))
        values["another kind"].append(value_of(metric, key, other, reference))
    return values


def set_order(manifest: Manifest, pools: Mapping[Task, Manifest], task: Task, vae: Any, clap: Path | None) -> list[dict[str, Any]]:
    """FAD, KAD and, with a CLAP, the distances by it and the CLAP score of one task."""
    entries = of_task(manifest, task)
    folder = {} if clap is None else {"folder": str(clap)}
    distances = [component("metric", name) for name in ("fad", "kad")]
    if clap is not None:
        distances += [component("metric", name, {"embedding": "clap", **folder}) for name in ("fad", "kad")]
    # One measurement serves both distances of an embedding: their rows are the embedding itself.
    ears = distances[::2]
    scores = [] if clap is None else [component("metric", "clap", folder)]
    *heard, matched = [*rows_of([*ears, *scores], entries, vae, SET_SNRS), *([] if scores else [{}])]
    found = []
    for place, metric in enumerate(distances):
        ear = ears[place // 2]
        other = [rows for entry in of_task(manifest, OTHER[task]) if (rows := embedded(ear, entry, task)) is not None]
        pool = [embedded(ear, entry, task) for entry in pools[task].items] if task in pools else None
        values = set_values(metric, metric.key, heard[place // 2], other, pool)
        found += order_rows(metric.key, values, last="another kind", snrs=SET_SNRS)
    for metric in scores:
        found += text_order(metric, "clap", entries, matched, snrs=SET_SNRS, seeds=len(NOISE_SEEDS))
    return found


def embedded(metric: ClipMetric, entry: ManifestItem, task: Task) -> np.ndarray | None:
    """A clip's rows, judged as if it were of ``task``."""
    return measured(metric, Trial(item=replace(entry.item, task=task), clip=audio.read(entry.target)))


def listed(source: str, folder: Path, out: Path, *, limits: Mapping[Task, int]) -> tuple[Manifest, dict[Task, Manifest]]:
    """The clips to judge, and of the corpus what references are drawn from."""
    split = {"split": "test"} if source == "corpus" else {}
    parts = {
        task: component("benchmark", source, {"folder": str(folder), "task": str(task), **split}).manifest(out / str(task))
        for task in Task
    }
    items = [entry for task, part in parts.items() for entry in first_items(part, limits[task]).items]
    manifest, pools = replace(parts[Task.SPEECH], items=tuple(items)), {}
    if source == "corpus":
        for task in OTHER:
            options = {"folder": str(folder), "task": str(task), "split": "train", "limit": POOL}
            pools[task] = component("benchmark", source, options).manifest(out / f"pool-{task}")
    return manifest, pools


def shown(source: str, part: str, row: Mapping[str, Any]) -> str:
    verdict = f"{'in order' if row['holds'] else 'OUT OF ORDER'} ({row['seeds_in_order']} of {row['seeds']} seeds)"
    stages = ", ".join(f"{stage} {value:.3f}" for stage, value in row["mean"].items())
    return f"{source}, {part}, {row['metric']}: {verdict}: {stages}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path, help="parts that it has already are kept, but for those measured now")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--clap", type=Path, help="folder of clap_small.py")
    parser.add_argument("--only", choices=["speech", "sets"])
    parser.add_argument("--limit", type=int, default=60, help="clips of speech")
    parser.add_argument("--set-limit", type=int, default=200, help="clips of sound and of music")
    options = parser.parse_args()
    vae = AudioCALM.from_pretrained("mini", device="cpu").model.vae
    limits = {Task.SPEECH: options.limit, Task.SOUND: options.set_limit, Task.MUSIC: options.set_limit}
    results: dict[str, Any] = json.loads(options.result.read_text())["results"] if options.result.is_file() else {}
    with tempfile.TemporaryDirectory() as name:
        for source in ("real", "corpus"):
            if (folder := getattr(options, source)) is None:
                continue
            out = Path(name) / source
            manifest, pools = listed(source, folder, out, limits=limits)
            parts: dict[str, Callable[[], list[dict[str, Any]]]] = {}
            if options.only != "sets":
                parts["speech"] = lambda m=manifest, out=out: speech_order(m, vae, out)
            if options.only != "speech":
                for task in OTHER:
                    parts[str(task)] = lambda m=manifest, p=pools, t=task: set_order(m, p, t, vae, options.clap)
            for part, measure in parts.items():
                began = time.process_time()
                rows = measure()
                about = {"clips": len(of_task(manifest, Task(part))), "cpu_seconds": round(time.process_time() - began)}
                results.setdefault(source, {})[part] = {**about, "machine": machine_record(), "rows": rows}
                print(*(shown(source, part, row) for row in rows), sep="\n", flush=True)
                write_bytes(options.result, (json.dumps({"results": results}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
