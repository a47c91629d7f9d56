"""What words, voices and quality lose by the mark `spread`: clips of speech as they are, and marked, judged by `calm.evaluation`.

    python benchmarks/watermark_words.py RESULT.json --real FOLDER --corpus FOLDER [--limit 60]

The figures, and the paired differences, are added to RESULT.json under ``words``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.metric_order import of_task, with_references
from calm import audio, registry
from calm.evaluation.choose import choose_metrics, component
from calm.evaluation.judge import judge
from calm.evaluation.manifest import Manifest, first_items
from calm.evaluation.results import read_results
from calm.evaluation.systems import find_system
from calm.metrics.intervals import mean
from calm.types import Task

METRICS = {"wer": "wer", "sim": "sim", "dnsmos": "dnsmos_ovrl"}


def marked_folder(manifest: Manifest, folder: Path) -> Path:
    folder.mkdir(parents=True)
    mark = registry.build("watermark", "spread").for_task("speech")
    for entry in manifest.items:
        audio.write(folder / f"{entry.item.id}.wav", mark.embed(audio.read(entry.target)), provenance=None)
    return folder


def compare(manifest: Manifest, out: Path) -> dict[str, Any]:
    """Figures of both, and the mean difference of a clip, marked less unmarked."""
    metrics = choose_metrics(list(METRICS), {}, manifest, device="cpu", folder=out)
    marked = find_system("marked", marked_folder(manifest, out / "marked"), manifest)
    systems = read_results(judge(manifest, [marked], metrics, out / "judged"))["systems"]
    figures: dict[str, Any] = {}
    for key in METRICS.values():
        scores = [systems[name]["items"] for name in ("original", "marked")]
        pairs = [(scores[0][id][key], scores[1][id][key]) for id in scores[0]]
        difference = mean([after - before for before, after in pairs])
        figures[key] = {
            "original": systems["original"]["figures"]["speech"][key],
            "marked": systems["marked"]["figures"]["speech"][key],
            "difference": dataclasses.asdict(difference),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--split", default="train", help="of the corpus")
    parser.add_argument("--limit", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = json.loads(options.result.read_text()) if options.result.is_file() else {}
    result["words"] = {}
    with tempfile.TemporaryDirectory() as name:
        for source in ("real", "corpus"):
            if (folder := getattr(options, source)) is None:
                continue
            split = {"split": options.split} if source == "corpus" else {}
            whole = component("benchmark", source, {"folder": str(folder), **split}).manifest(Path(name) / source / "list")
            speech = first_items(replace(whole, items=tuple(of_task(whole, Task.SPEECH))), options.limit)
            speech = replace(speech, items=tuple(with_references(speech.items)))
            result["words"][source] = compare(speech, Path(name) / source)
    audio.write_bytes(options.result, (json.dumps(result, indent=2) + "\n").encode())
    print(json.dumps(result["words"], indent=2))


if __name__ == "__main__":
    main()
