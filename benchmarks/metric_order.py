"""Do the embedded scorers put audio in the right order? On real recordings and on the corpus.

    python benchmarks/metric_order.py RESULT.json --real ../shared/real --corpus runs/mini_corpus [--split train]

WER: original, reconstruction by the VAE of mini, noised, shuffled text. SIM and DNSMOS: original, reconstruction, noised.
FAD and KAD against one half of the originals: the other half, its reconstruction, noised, another kind. CLAP has no scorer
without a download and is not here.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from calm import AudioCALM, audio
from calm.audio import write_bytes
from calm.evaluation.choose import choose_metrics, component
from calm.evaluation.judge import judge
from calm.evaluation.machine import machine_record
from calm.evaluation.made import made_systems
from calm.evaluation.manifest import Manifest, ManifestItem, first_items
from calm.evaluation.results import read_results
from calm.evaluation.systems import find_system
from calm.metrics import Item
from calm.types import Task, Waveform

__all__ = ["in_order", "order_of"]

#: signal over noise in decibels: speech is recognised through little noise, and a set's statistics notice little
SPEECH_SNR, SET_SNR = 10.0, 15.0
STAGES = ("original", "reconstruction", "noised")


def noised(clip: Waveform, *, snr: float, seed: int) -> Waveform:
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal(tuple(clip.audio.shape))).float()
    level = clip.audio.square().mean().sqrt() * 10 ** (-snr / 20)
    return replace(clip, audio=(clip.audio + level * noise).clamp(-1, 1))


def noised_folder(manifest: Manifest, folder: Path, *, snr: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, entry in enumerate(manifest.items):
        clip = noised(audio.read(entry.target), snr=snr, seed=number)
        audio.write(folder / f"{entry.item.id}.wav", clip, provenance=None)
    return folder


def of_task(manifest: Manifest, task: Task) -> list[ManifestItem]:
    return [entry for entry in manifest.items if entry.item.task is task]


def shuffled(entries: Sequence[ManifestItem]) -> list[ManifestItem]:
    """Every clip with the next clip's words."""
    texts = [entry.item.text for entry in entries]
    return [
        replace(entry, item=replace(entry.item, text=text)) for entry, text in zip(entries, texts[1:] + texts[:1], strict=True)
    ]


def speech_order(manifest: Manifest, out: Path) -> dict[str, dict[str, float]]:
    """WER, SIM and DNSMOS of the speech items."""
    speech = replace(manifest, items=tuple(with_references(of_task(manifest, Task.SPEECH))))
    metrics = choose_metrics(["wer", "sim", "dnsmos"], {}, speech, device="cpu", folder=out / "language")
    made, _ = made_systems(speech, models=[], vae_of="mini", out=out, seed=0, device="cpu", options={})
    noisy = find_system("noised", noised_folder(speech, out / "noised", snr=SPEECH_SNR), speech)
    found = read_results(judge(speech, [*made, noisy], metrics, out / "speech"))
    wrong = replace(speech, items=tuple(shuffled(speech.items)), name=f"{speech.name}, shuffled")
    other = read_results(judge(wrong, [], {"wer": metrics["wer"]}, out / "shuffled"))
    figures = {name: found["systems"][name]["figures"]["speech"] for name in STAGES}
    order = {key: {name: figures[name][key]["value"] for name in STAGES} for key in ("wer_pooled", "sim", "dnsmos_ovrl")}
    order["wer_pooled"]["shuffled text"] = other["systems"]["original"]["figures"]["speech"]["wer_pooled"]["value"]
    return order


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


def set_order(manifest: Manifest, task: Task, other: Task, out: Path) -> dict[str, dict[str, float]]:
    """FAD and KAD of the second half of a task's originals against the first half."""
    entries = of_task(manifest, task)
    near, far = entries[0::2], entries[1::2]
    held, against = replace(manifest, items=tuple(far)), replace(manifest, items=tuple(near), name="reference")
    metrics = choose_metrics(["fad", "kad"], {}, held, device="cpu", folder=out)
    made, _ = made_systems(held, models=[], vae_of="mini", out=out, seed=0, device="cpu", options={})
    noisy = find_system("noised", noised_folder(held, out / "noised", snr=SET_SNR), held)
    found = read_results(judge(held, [*made, noisy], metrics, out / "sets", reference=against))
    # Another kind is judged as if it were this task's.
    kinds = [replace(entry, item=as_task(entry.item, task)) for entry in of_task(manifest, other)]
    strange = read_results(judge(replace(manifest, items=tuple(kinds)), [], metrics, out / "kind", reference=against))
    order = {}
    for key in ("fad", "kad"):
        order[key] = {name: found["systems"][name]["figures"][str(task)][key]["value"] for name in STAGES}
        order[key][f"another kind ({other})"] = strange["systems"]["original"]["figures"][str(task)][key]["value"]
    return order


def as_task(item: Item, task: Task) -> Item:
    return replace(item, task=task)


def order_of(manifest: Manifest, out: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by stage, of everything that the manifest has enough clips of."""
    found = {"speech": speech_order(manifest, out / "words")}
    for task, other in ((Task.SOUND, Task.MUSIC), (Task.MUSIC, Task.SPEECH)):
        if len(of_task(manifest, task)) >= 8:
            found[f"{task} sets"] = set_order(manifest, task, other, out / str(task))
    return found


def in_order(key: str, stages: Mapping[str, float]) -> bool:
    """Whether each stage is worse than the one before; distances and errors grow, the others fall."""
    values = list(stages.values())
    grows = key.startswith(("wer", "fad", "kad"))
    return all(a < b if grows else a > b for a, b in itertools.pairwise(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--split", default="test", help="of the corpus")
    parser.add_argument("--limit", type=int, default=60, help="clips of speech")
    parser.add_argument("--set-limit", type=int, default=200, help="clips of sound and of music")
    options = parser.parse_args()
    AudioCALM.from_pretrained("mini", device="cpu")  # its absence is known before anything is measured
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for source in ("real", "corpus"):
            folder = getattr(options, source)
            if folder is not None:
                split = {"split": options.split} if source == "corpus" else {}
                whole = component("benchmark", source, {"folder": str(folder), **split}).manifest(Path(name) / source / "list")
                sizes = {Task.SPEECH: options.limit, Task.SOUND: options.set_limit, Task.MUSIC: options.set_limit}
                parts = [first_items(replace(whole, items=tuple(of_task(whole, task))), size) for task, size in sizes.items()]
                manifest = replace(whole, items=tuple(entry for part in parts for entry in part.items))
                results[source] = order_of(manifest, Path(name) / source)
    for source, parts in results.items():
        for part, figures in parts.items():
            for key, stages in figures.items():
                shown = ", ".join(f"{stage} {value:.3f}" for stage, value in stages.items())
                print(f"{source}, {part}, {key}: {'in order' if in_order(key, stages) else 'OUT OF ORDER'}: {shown}")
    limits = {"speech": options.limit, "sound, music": options.set_limit, "corpus split": options.split}
    about = {"results": results, "limits": limits, "machine": machine_record()}
    write_bytes(options.result, (json.dumps(about, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
