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
from pathlib import Path
from typing import Any

from rich.console import Console

from calm.audio import write_bytes
from calm.evaluation.listening import Listening
from calm.evaluation.machine import machine_record
from calm.evaluation.study import Study, as_json, consented
from calm.generation import AudioCALM
from calm.metrics.intervals import mean
from calm.metrics.words import excess, word_error_rate
from calm.scorers.speaker import SpeakerEncoder
from calm.types import Task

REFERENCE = "fp32"


def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Figures by precision."""
    names = [REFERENCE, *options.precisions.split(",")]
    studies = {name: study_of(options, name) for name in names}
    listening, encoder = Listening(studies[REFERENCE]), SpeakerEncoder()
    errors, voices, seconds = ({name: [] for name in names} for _ in range(3))
    for number, item in enumerate(listening.items):
        reference = item.reference_audio
        own = encoder.embed(reference)
        for name in names:
            clip = studies[name].generate(item.target.text, Task.SPEECH, number=number, reference=consented(reference))
            errors[name].append(listening.errors(item, clip.waveform))
            voices[name].append(float(encoder.embed(clip.waveform) @ own) if bool(clip.audio.any()) else 0.0)
            seconds[name].append(clip.seconds)
        console.print(f"{number + 1} of {len(listening.items)}", end="\r")
    figures = {
        name: {
            "wer": word_error_rate(errors[name]),
            "wer_minus_fp32": excess(errors[name], errors[REFERENCE]),
            "sim": mean(voices[name]),
            "sim_minus_fp32": mean([a - b for a, b in zip(voices[name], voices[REFERENCE], strict=True)]),
            "length_over_fp32": mean([a / b for a, b in zip(seconds[name], seconds[REFERENCE], strict=True)]),
        }
        for name in names
    }
    return as_json({"figures": figures, "items": len(listening.items), "scorers": listening.about()})


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
    result = {**measure(options, console), "machine": machine_record()}
    write_bytes(options.result, (json.dumps(result, indent=2) + "\n").encode())
    for name, figures in result["figures"].items():
        said = (f"{key} {value['value']:.4f} ({value['low']:.4f} to {value['high']:.4f})" for key, value in figures.items())
        console.print(f"{name}: " + ", ".join(said), highlight=False)


if __name__ == "__main__":
    main()
