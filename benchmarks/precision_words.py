"""What a precision does to speech: word errors, voice and length against float32, item by item.

    python benchmarks/precision_words.py RESULT.json --corpus runs/mini_corpus [--precisions int8,fp16] [--limit 60]

Every sentence of the development list is spoken in its reference voice by the same model in each precision, from the
same noise, and recognised as in `benchmarks/it_speaks.py`: three dither seeds, the list's vocabulary. The figures are
paired: the word error rate of a precision minus that of float32.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from calm.audio import write_bytes
from calm.evaluation.listening import Listening
from calm.evaluation.machine import machine_record
from calm.evaluation.study import Study, as_json, consented
from calm.generation import AudioCALM
from calm.metrics.intervals import mean
from calm.metrics.words import WordErrors, excess, word_error_rate
from calm.scorers.speaker import SpeakerEncoder
from calm.types import Task

REFERENCE = "fp32"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one spoken sentence scored: word errors, similarity to its reference, seconds."""

    errors: WordErrors
    sim: float
    seconds: float


def measure(options: argparse.Namespace, console: Console) -> None:
    """Speak and recognise sentence by sentence; the result file is rewritten after each."""
    names = [REFERENCE, *options.precisions.split(",")]
    studies = {name: study_of(options, name) for name in names}
    listening, encoder = Listening(studies[REFERENCE]), SpeakerEncoder()
    rows: dict[str, list[Row]] = {name: [] for name in names}
    for number, item in enumerate(listening.items):
        reference = item.reference_audio
        own = encoder.embed(reference)
        for name in names:
            clip = studies[name].generate(item.target.text, Task.SPEECH, number=number, reference=consented(reference))
            sim = float(encoder.embed(clip.waveform) @ own) if bool(clip.audio.any()) else 0.0
            rows[name].append(Row(errors=listening.errors(item, clip.waveform), sim=sim, seconds=clip.seconds))
        result = {"figures": figures_of(rows), "items": number + 1, "scorers": listening.about(), "machine": machine_record()}
        write_bytes(options.result, (json.dumps(as_json(result), indent=2) + "\n").encode())
        console.print(f"{number + 1} of {len(listening.items)}", highlight=False)


def figures_of(rows: dict[str, list[Row]]) -> dict[str, Any]:
    """By precision, each with its paired difference from float32."""
    found, reference = {}, rows[REFERENCE]
    for name, own in rows.items():
        errors, pairs = [row.errors for row in own], list(zip(own, reference, strict=True))
        found[name] = {
            "wer": word_error_rate(errors),
            "wer_minus_fp32": excess(errors, [row.errors for row in reference]),
            "sim": mean([row.sim for row in own]),
            "sim_minus_fp32": mean([a.sim - b.sim for a, b in pairs]),
            "length_over_fp32": mean([a.seconds / b.seconds for a, b in pairs]),
        }
    return found


def study_of(options: argparse.Namespace, precision: str) -> Study:
    model = AudioCALM.from_pretrained(options.model, device="cpu", precision=precision)
    cache = Path(tempfile.mkdtemp(prefix="calm-precision-")) if options.cache is None else options.cache
    return Study(model=model, corpus=options.corpus, split="validation", limit=options.limit, seed=options.seed, cache=cache)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path, help="JSON file to write")
    parser.add_argument("--corpus", type=Path, required=True, help="folder that `calm corpus` made")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--precisions", default="int8", help="comma-separated, compared with fp32")
    parser.add_argument("--limit", type=int, default=60, help="sentences")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="recognised originals")
    options, console = parser.parse_args(), Console()
    measure(options, console)
    result = json.loads(options.result.read_text(encoding="utf-8"))
    for name, figures in result["figures"].items():
        said = (f"{key} {value['value']:.4f} ({value['low']:.4f} to {value['high']:.4f})" for key, value in figures.items())
        console.print(f"{name}: " + ", ".join(said), highlight=False)


if __name__ == "__main__":
    main()
