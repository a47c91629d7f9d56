"""The mark `spread` under attack: detection, false alarms, level, and what words and voices lose by it.

    python benchmarks/watermark.py RESULT.json --rows ROWS.jsonl --clips FOLDER... [--limit 2000]
    python benchmarks/watermark.py RESULT.json --rows ROWS.jsonl --plot docs/watermark.png

Clips are 5 s long: the files of each folder in the order of their names, those of one rate and task joined with pauses of
0.35 s and cut. One line a clip is written as soon as it is measured, so that a run that was stopped goes on. Clips of the
folders take turns, so that what a stopped run has is a fair part. A third of them, drawn by number, is marked and attacked,
and a thirtieth is marked at other levels. Marked audio is rounded to 16 bits, as a file is.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import random
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from calm import audio, registry
from calm.audio import resample
from calm.evaluation.machine import machine_record
from calm.types import Waveform

SECONDS, PAUSE_SECONDS = 5.0, 0.35
TASKS = ("speech", "sound", "music")
RATES = (8000, 22050, 24000, 44100)
LEVELS_DB = (18.0, 20.0, 22.0, 24.0, 27.0, 30.0)
#: bit rates in kb/s between which libsndfile's compression level 0..1 chooses, by sample rate
MP3_RANGE = {8000: (64, 8), 16000: (160, 8), 22050: (160, 8), 24000: (160, 8), 44100: (320, 32), 48000: (320, 32)}


def cut(folder: Path) -> Iterator[tuple[str, Waveform]]:
    """Name -> clip of 5 s; tasks of the folder take turns."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".flac", ".wav"))
    turns = [_cut_task(folder.name, task, [path for path in files if path.name.startswith(task)]) for task in TASKS]
    return (clip for group in itertools.zip_longest(*turns) for clip in group if clip is not None)


def _cut_task(name: str, task: str, files: list[Path]) -> Iterator[tuple[str, Waveform]]:
    held: dict[tuple[int, int], torch.Tensor] = {}
    count = 0
    for path in files:
        clip = audio.read(path)
        rate, channels = clip.sample_rate, clip.audio.shape[0]
        pause, size = torch.zeros(channels, int(PAUSE_SECONDS * rate)), int(SECONDS * rate)
        joined = torch.cat([held.get((rate, channels), clip.audio[:, :0]), clip.audio, pause], dim=1)
        while joined.shape[1] >= size:
            yield f"{name}/{task}/{count}", Waveform(audio=joined[:, :size].clone(), sample_rate=rate)
            joined, count = joined[:, size:], count + 1
        held[rate, channels] = joined


def attacked(clip: Waveform, *, seed: int) -> Iterator[tuple[str, Waveform]]:
    """The clip as it is, and after each attack."""
    rate, samples = clip.sample_rate, clip.audio.shape[1]
    dice = np.random.default_rng(seed)
    yield "clean", clip
    for other in RATES:
        yield f"resampled to {other} Hz and back", resample(resample(clip, other), rate)
    yield "MP3 at 64 kb/s", mp3(clip)
    for seconds in (4.0, 2.5):
        size = int(seconds * rate)
        begin = int(dice.integers(0, samples - size + 1))
        yield f"cropped to {seconds:g} s", Waveform(audio=clip.audio[:, begin : begin + size], sample_rate=rate)
    noise = torch.from_numpy(dice.standard_normal(clip.audio.shape)).float()
    scale = (clip.audio.square().mean() / 100).sqrt()
    yield "white noise at 20 dB", Waveform(audio=clip.audio + noise * scale, sample_rate=rate)


def mp3(clip: Waveform) -> Waveform:
    """Through MP3 at a constant 64 kb/s."""
    high, low = MP3_RANGE[clip.sample_rate]
    data = io.BytesIO()
    options = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": (high - 64) / (high - low)}
    soundfile.write(data, clip.audio.T.numpy(), clip.sample_rate, **options)
    return audio.read(data.getvalue())


def rounded(clip: Waveform) -> Waveform:
    return Waveform(audio=(clip.audio.clamp(-1, 1) * 32768).round() / 32768, sample_rate=clip.sample_rate)


def level_under(clip: Waveform, marked: Waveform) -> float:
    """How far what the mark adds is under the signal, in dB."""
    return float(10 * (clip.audio.square().sum() / (marked.audio - clip.audio).square().sum().clamp(min=1e-12)).log10())


def measure(name: str, clip: Waveform, *, attack: bool, sweep: bool, seed: int) -> dict[str, Any]:
    mark = registry.build("watermark", "spread")
    row: dict[str, Any] = {"clip": name, "sample_rate": clip.sample_rate, "unmarked": mark.detect(clip).score}
    if attack and bool(clip.audio.any()):
        marked = rounded(mark.for_task(name.split("/")[1]).embed(clip))
        row["level_db"] = level_under(clip, marked)
        row["scores"] = {attack: mark.detect(each).score for attack, each in attacked(marked, seed=seed)}
    if sweep:
        row["sweep"] = {}
        for level in LEVELS_DB:
            at_level = registry.build("watermark", {"name": "spread", "level_db": level}).for_task(name.split("/")[1])
            marked = rounded(at_level.embed(clip))
            noisy = dict(attacked(marked, seed=seed))["white noise at 20 dB"]
            scores = {"clean": mark.detect(marked).score, "noise": mark.detect(noisy).score}
            row["sweep"][str(level)] = {"level_db": level_under(clip, marked), **scores}
    return row


def run(rows: Path, folders: list[Path], *, attack_every: int, sweep_every: int, limit: int) -> None:
    """Measure the clips that have no line yet."""
    done = {json.loads(line)["clip"] for line in rows.read_text().splitlines()} if rows.is_file() else set()
    turns = itertools.zip_longest(*(cut(folder) for folder in folders))
    clips = (clip for group in turns for clip in group if clip is not None)
    for index, (name, clip) in enumerate(itertools.islice(clips, limit)):
        if name in done:
            continue
        drawn = random.Random(index).random()
        row = measure(name, clip, attack=drawn * attack_every < 1, sweep=drawn * sweep_every < 1, seed=index)
        with rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rates of detection, levels and false alarms, of all and by folder and task."""
    mark = registry.build("watermark", "spread")
    limit = mark.detect(Waveform(audio=torch.zeros(1, 160), sample_rate=16000)).threshold
    scores, groups = defaultdict(list), defaultdict(lambda: defaultdict(list))
    for row in rows:
        for attack, score in row.get("scores", {}).items():
            scores[attack].append(score)
            groups[row["clip"].rsplit("/", 1)[0]][attack].append(score)
    rate = lambda values: round(sum(value >= limit for value in values) / len(values), 4)  # noqa: E731
    levels = sorted(row["level_db"] for row in rows if "level_db" in row)
    return {
        "threshold": limit,
        "false_positives": {
            "clips": len(rows), "found": sum(row["unmarked"] >= limit for row in rows),
            "largest_score": max(row["unmarked"] for row in rows),
        },
        "level_db": {"lowest": levels[0], "median": statistics.median(levels), "highest": levels[-1]},
        "detected": {
            attack: {"clips": len(each), "rate": rate(each), "p5_score": float(np.percentile(each, 5))}
            for attack, each in scores.items()
        },
        "detected_by_group": {name: {a: [len(v), rate(v)] for a, v in group.items()} for name, group in groups.items()},
        "sweep": _sweep([row["sweep"] for row in rows if "sweep" in row], rate),
    }  # fmt: skip


def _sweep(rows: list[dict[str, Any]], rate: Any) -> list[dict[str, Any]]:
    return [
        {
            "asked_db": level, "clips": len(rows),
            "level_db": statistics.median(row[str(level)]["level_db"] for row in rows),
            **{f"{way}_rate": rate([row[str(level)][way] for row in rows]) for way in ("clean", "noise")},
            **{f"{way}_p5_score": float(np.percentile([row[str(level)][way] for row in rows], 5)) for way in ("clean", "noise")},
        }
        for level in LEVELS_DB
    ] if rows else []  # fmt: skip


def plot(figures: dict[str, Any], path: Path) -> None:
    """Level of the mark against detection."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    levels = [point["level_db"] for point in figures["sweep"]]
    for way, label in (("clean", "as written"), ("noise", "with white noise at 20 dB")):
        axes.plot(levels, [100 * point[f"{way}_rate"] for point in figures["sweep"]], marker="o", label=label)
    axes.set(xlabel="mark under the signal (dB, median)", ylabel="clips found (%)", ylim=(0, 102))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--clips", type=Path, nargs="*", default=[])
    parser.add_argument("--attack-every", type=int, default=3)
    parser.add_argument("--sweep-every", type=int, default=30)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run(options.rows, options.clips, attack_every=options.attack_every, sweep_every=options.sweep_every, limit=options.limit)
    figures = summary([json.loads(line) for line in options.rows.read_text().splitlines()])
    words = json.loads(options.result.read_text()).get("words", {}) if options.result.is_file() else {}
    audio.write_bytes(options.result, (json.dumps({"machine": machine_record(), **figures, "words": words}, indent=2) + "\n").encode())
    if options.plot is not None:
        plot(figures, options.plot)


if __name__ == "__main__":
    main()
