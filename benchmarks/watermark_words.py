"""What words and voices lose by the mark `spread`: WER by pocketsphinx and SIM by Resemblyzer's network, in pairs.

    python benchmarks/watermark_words.py RESULT.json --clips FOLDER... [--items 20]

The longest speech clips of each folder (with ``metadata.jsonl``), as they are and marked. The figures are added to RESULT.json,
under ``words``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from calm import audio, registry
from calm.metrics.intervals import mean
from calm.metrics.words import excess, word_error_rate, word_errors
from calm.scorers.recogniser import Recogniser
from calm.scorers.speaker import SpeakerEncoder
from calm.types import Waveform


def speech_of(folder: Path, count: int) -> list[tuple[str, Waveform]]:
    """Transcript and clip of the longest recordings of speech of at most 8 s."""
    found = []
    for metadata in sorted(folder.rglob("metadata.jsonl")):
        rows = [json.loads(line) for line in metadata.read_text(encoding="utf-8").splitlines()]
        found += [(metadata.parent / row["file_name"], row) for row in rows if row["task"] == "speech"]
    found = sorted(found, key=lambda each: -audio.info(each[0]).seconds)
    short = [each for each in found if audio.info(each[0]).seconds <= 8]
    return [(row["text"], audio.read(path)) for path, row in short[:count]]


def compare(items: list[tuple[str, Waveform]]) -> dict[str, Any]:
    """WER of the clips and of the marked clips, their difference; similarity of each voice to itself marked."""
    mark, recogniser, encoder = registry.build("watermark", "spread"), Recogniser(), SpeakerEncoder()
    plain, marked, similarity = [], [], []
    for text, clip in items:
        other = mark.embed(clip)
        plain.append(word_errors(text, [recogniser.transcribe(clip).text]))
        marked.append(word_errors(text, [recogniser.transcribe(other).text]))
        similarity.append(float(encoder.embed(clip) @ encoder.embed(other)))
    figures = {
        "wer": word_error_rate(plain), "wer_marked": word_error_rate(marked),
        "wer_difference": excess(marked, plain), "sim_to_unmarked": mean(similarity),
    }  # fmt: skip
    return {name: dataclasses.asdict(figure) for name, figure in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--items", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = json.loads(options.result.read_text()) if options.result.is_file() else {}
    result["words"] = {folder.name: compare(speech_of(folder, options.items)) for folder in options.clips}
    audio.write_bytes(options.result, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
