"""Do the scorers put audio in the right order? On real recordings and on held-out clips of the corpus.

    python -c "from calm.corpus import generate_corpus; generate_corpus('runs/order', seconds=3800, seed=1,
        split_shares={'train': 0.04, 'test': 0.96}, task_shares={'speech': 0.1, 'sound': 0.35, 'music': 0.55})"
    python benchmarks/metric_order.py RESULT.json --real ../shared/real --corpus runs/order [--clap runs/clap_small]

The protocol of the sets was fixed before they were measured so. An earlier one halved 18 sounds and 35 pieces of
music: halves so small differ more from each other than from what a codec makes of them.

- WER and CLAP: original, reconstruction, noised, shuffled text. SIM and DNSMOS: original, reconstruction, noised. FAD and
  KAD: held-out originals, reconstruction, noised, another kind. One row for each reconstruction and level of noise.
- Reconstruction is by the VAE of `mini`, which was trained on the corpus (not on its split ``test``), and by MP3 at
  16 kbit/s, 16 kHz, mono, which was made for neither: damage that anyone hears and that takes no word away.
- White noise lies below each clip's own level by 10 dB for speech's words, and by 10 and 20 dB for the sets.
- A row holds where the means over seeds are in order; in how many of the seeds it holds is beside it. Seeds are ten draws
  of a set, three shuffles of captions, one of everything else.
- Real sets are random halves of 120 clips of speech, and of the 35 pieces of music; every stage is made of the same
  held-out clips. Of the corpus, 80 clips of the split ``test`` are judged, and 150 of another 200 are the reference.
- The other kind of speech is music, that of sounds and music is speech.
- Clips are drawn, never chosen. A shuffled text is another text than the clip's own.
- The CLAP score needs a folder of ``clap_small.py`` that was trained on another corpus, and noise like the sets'. On the
  corpus, texts are the captions of 80 clips of a task, shuffled among them.
- On recordings (80 of speech, all of the others) the CLAP score is asked another question, fixed before they were scored
  so: whether it tells what kind of recording it hears. Their captions ("dialog warning sound") are nothing that a small
  model could know, so texts are the project's own descriptions, ``describe(task, text)``, which begin with the kind, and
  a wrong text is that of a drawn clip of another task, either of the other tasks with the same chance.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.damage_stages import shuffled
from benchmarks.order import StageRows, by_seed, measured, order_rows, rows_of, value_of
from calm import AudioCALM, audio
from calm.audio import write_bytes
from calm.evaluation.choose import choose_metrics, component
from calm.evaluation.machine import machine_record
from calm.evaluation.manifest import Manifest, ManifestItem, first_items
from calm.metrics import ClipMetric, SetMetric, Trial
from calm.text.description import describe
from calm.types import Task

__all__ = ["clap_order", "of_another_kind", "set_order", "set_values", "speech_order"]

SET_SEEDS, TEXT_SEEDS = 10, 3
SPEECH_SNRS, SET_SNRS = (10,), (10, 20)
#: of the corpus: clips that are judged, clips that references are drawn from, clips of a reference
JUDGED, POOL, REFERENCES = 80, 200, 150
#: clips of a set of recordings, at most, of which halves are compared
HALVED = 120
EMBEDDINGS = ("motion", "mel")
#: sets of a source, and the kind that is far from each
SETS = {
    "real": {Task.SPEECH: Task.MUSIC, Task.MUSIC: Task.SPEECH},
    "corpus": {Task.SOUND: Task.SPEECH, Task.MUSIC: Task.SPEECH},
}
CLAP_TASKS = {"real": tuple(Task), "corpus": (Task.SOUND, Task.MUSIC)}
CLAP_PART = {"real": "{}, CLAP of kinds, trained with noise", "corpus": "{}, CLAP of captions, trained with noise"}


def of_task(manifest: Manifest, task: Task) -> list[ManifestItem]:
    return [entry for entry in manifest.items if entry.item.task is task]


def clip_values(metric: ClipMetric, key: str, rows: StageRows) -> dict[str, list[float]]:
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


def text_order(metric: ClipMetric, key: str, wrong: Sequence[Sequence[ManifestItem]], rows: StageRows, *, snrs: Sequence[int]):
    """Rows of a metric that reads the text; a wrong text is heard with the untouched clip, for each shuffle."""
    values = clip_values(metric, key, rows)
    values["shuffled text"] = []
    for entries in wrong:
        trials = [Trial(item=entry.item, clip=audio.read(entry.target)) for entry in entries]
        values["shuffled text"].append(value_of(metric, key, [measured(metric, trial) for trial in trials]))
    return order_rows(key, values, last="shuffled text", snrs=snrs)


def speech_order(manifest: Manifest, vae: Any, out: Path, limit: int) -> list[dict[str, Any]]:
    """WER, SIM and DNSMOS. Words are recognised once for a wrong text: recognition is most of the time."""
    listed = first_items(replace(manifest, items=tuple(of_task(manifest, Task.SPEECH))), limit)
    speech = replace(manifest, items=tuple(with_references(listed.items)))
    metrics = choose_metrics(["wer", "sim", "dnsmos"], {}, speech, device="cpu", folder=out)
    wer, sim, dnsmos = (metrics[name] for name in ("wer", "sim", "dnsmos"))
    words, voices, quality = rows_of([wer, sim, dnsmos], speech.items, vae, snrs=SPEECH_SNRS, seeds=1)
    return [
        *text_order(wer, "wer_pooled", [shuffled(speech.items, 0)], words, snrs=SPEECH_SNRS),
        *order_rows("sim", clip_values(sim, "sim", voices), last=None, snrs=SPEECH_SNRS),
        *order_rows("dnsmos_ovrl", clip_values(dnsmos, "dnsmos_ovrl", quality), last=None, snrs=SPEECH_SNRS),
    ]


def set_values(
    metric: SetMetric, key: str, rows: StageRows, other: Sequence[np.ndarray], pool: Sequence[np.ndarray] | None
) -> dict[str, list[float]]:
    """Distance of every stage for each seed; ``pool`` None halves the originals, else references are drawn from it."""
    count = len(rows["original"][0])
    values: dict[str, list[float]] = {stage: [] for stage in (*rows, "another kind")}
    for number in range(SET_SEEDS):
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


def set_order(source: str, manifest: Manifest, task: Task, vae: Any) -> list[dict[str, Any]]:
    """FAD and KAD of one task."""
    entries, others = of_task(manifest, task), of_task(manifest, SETS[source][task])
    judged, pool = (entries[:HALVED], []) if source == "real" else (entries[:JUDGED], entries[JUDGED : JUDGED + POOL])
    others = others[: len(judged)]
    distances = {name: [component("metric", kind, {"embedding": name}) for kind in ("fad", "kad")] for name in EMBEDDINGS}
    # One measurement serves both distances of an embedding: their rows are the embedding itself.
    ears = [pair[0] for pair in distances.values()]
    heard = rows_of(ears, judged, vae, snrs=SET_SNRS, seeds=1)
    found = []
    for ear, pair, rows in zip(ears, distances.values(), heard, strict=True):
        other, far = ([embedded(ear, entry) for entry in each] for each in (others, pool))
        for metric in pair:
            values = set_values(metric, metric.key, rows, other, far or None)
            found += order_rows(metric.key, values, last="another kind", snrs=SET_SNRS)
    return found


def clap_order(source: str, manifest: Manifest, task: Task, vae: Any, clap: Path) -> list[dict[str, Any]]:
    """The CLAP score of one task: of captions on the corpus, of kinds of recordings elsewhere."""
    entries = of_task(manifest, task)[:JUDGED]
    if source == "corpus":
        wrong = [shuffled(entries, seed) for seed in range(TEXT_SEEDS)]
    else:
        entries = described(entries)
        others = [described(of_task(manifest, other)[:JUDGED]) for other in Task if other is not task]
        wrong = [of_another_kind(entries, others, seed) for seed in range(TEXT_SEEDS)]
    metric = component("metric", "clap", {"folder": str(clap)})
    (rows,) = rows_of([metric], entries, vae, snrs=SET_SNRS, seeds=1)
    return text_order(metric, "clap", wrong, rows, snrs=SET_SNRS)


def with_text(entry: ManifestItem, text: str) -> ManifestItem:
    return replace(entry, item=replace(entry.item, text=text))


def described(entries: Sequence[ManifestItem]) -> list[ManifestItem]:
    return [with_text(entry, describe(entry.item.task, entry.item.text)) for entry in entries]


def of_another_kind(entries: Sequence[ManifestItem], others: Sequence[Sequence[ManifestItem]], seed: int) -> list[ManifestItem]:
    """Every clip with the text of a drawn clip of another task, whichever task with the same chance."""
    rng = np.random.default_rng(seed)
    drawn = [others[rng.integers(len(others))] for _ in entries]
    return [with_text(mine, pool[rng.integers(len(pool))].item.text) for mine, pool in zip(entries, drawn, strict=True)]


def embedded(metric: ClipMetric, entry: ManifestItem) -> np.ndarray:
    return metric.measure(Trial(item=entry.item, clip=audio.read(entry.target)))


def listed(source: str, folder: Path, out: Path) -> Manifest:
    """All clips of the source, those of a task in random order."""
    found = component("benchmark", source, {"folder": str(folder)}).manifest(out)
    order = np.random.default_rng(0).permutation(len(found.items))
    return replace(found, items=tuple(found.items[number] for number in order))


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
    parser.add_argument("--only", choices=["words", "sets", "clap"])
    parser.add_argument("--limit", type=int, default=60, help="clips of speech for WER, SIM and DNSMOS")
    options = parser.parse_args()
    vae = AudioCALM.from_pretrained("mini", device="cpu").model.vae
    results: dict[str, Any] = json.loads(options.result.read_text())["results"] if options.result.is_file() else {}
    with tempfile.TemporaryDirectory() as name:
        for source in SETS:
            if (folder := getattr(options, source)) is None:
                continue
            out = Path(name) / source
            manifest = listed(source, folder, out)
            parts: dict[str, Callable[[], list[dict[str, Any]]]] = {}
            if options.only in (None, "words"):
                parts["words"] = lambda m=manifest, out=out: speech_order(m, vae, out, options.limit)
            if options.only in (None, "sets"):
                for task in SETS[source]:
                    parts[str(task)] = lambda m=manifest, t=task, s=source: set_order(s, m, t, vae)
            if options.only in (None, "clap") and options.clap:
                for task in CLAP_TASKS[source]:
                    parts[CLAP_PART[source].format(task)] = lambda m=manifest, t=task, s=source: clap_order(s, m, t, vae, options.clap)
            for part, measure in parts.items():
                began = time.process_time()
                rows = measure()
                about = {"cpu_seconds": round(time.process_time() - began), "machine": machine_record()}
                results.setdefault(source, {})[part] = {**about, "rows": rows}
                print(*(shown(source, part, row) for row in rows), sep="\n", flush=True)
                write_bytes(options.result, (json.dumps({"results": results}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
