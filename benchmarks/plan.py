"""The plan of the data: padding, shares, the way back to step 1,000,000, and the loader against plain webdataset.

    python benchmarks/plan.py [RESULT.json] [--steps 1000] [--clips 100000] [--pairs 40] [--samples 20000]

The first part needs an index only and runs on drawn lengths: useful frames by window (goal 95 %), the time to the first
batch of step 1,000,000 from a checkpoint's state (goal 0.5 s), and the error of the shares (goal 1 from the start on;
between two later draws it may be twice the bound, 1.5).
The second reads FLAC: clips a second of `PlannedSource` over those of a plain webdataset pipeline with the same decoding,
by CPU time of one process, in pairs taken in turn (goal 0.97), and what resident memory grows by.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from calm import audio
from calm.audio import write_bytes
from calm.data.batching import Batching, ByClips, ByFrames
from calm.data.config import ShardSource
from calm.data.cut import ClipCut
from calm.data.pack import pack
from calm.data.plan import Plan
from calm.data.planned import PlannedSource
from calm.data.schema import parse_record, to_sample
from calm.data.shares import Tally
from calm.data.source import SourceSettings
from calm.evaluation.machine import machine_record
from calm.types import TASKS

WEIGHTS = {"speech": 0.5, "sound": 0.3, "music": 0.2}
SOURCE_WEIGHTS = (5.0, 2.0, 1.0)
FRAME_RATE, MAX_SECONDS, MAX_FRAMES, CLIPS = 44_100 / 4096, 30.0, 12_000, 128
WINDOWS, MULTIPLES = (8, 16, 32, 64, 128), (1, 4, 16)
FAR = 1_000_000
RATE, SECONDS_OF_A_CLIP, NUM_FILES, BATCH = 16_000, 4.0, 96, 16


def lengths(num_clips: int, seed: int = 0) -> np.ndarray:
    """Seconds of as many clips of each task: sentences, sounds of up to 10 s, pieces of music of 5 s and more."""
    rng = np.random.default_rng(seed)
    drawn = (rng.lognormal(1.5, 0.6, num_clips), rng.lognormal(1.7, 0.5, num_clips).clip(max=10), rng.uniform(5, 45, num_clips))
    return np.concatenate(drawn).clip(0.6, MAX_SECONDS)


def plan_of(seconds: np.ndarray, batching: Batching, *, bucket_steps: int) -> Plan:
    """Three tasks, three sources, weights that the module's constants give."""
    size = len(seconds) // len(TASKS)
    return Plan(
        {task: range(size * task.id, size * task.id + size) for task in TASKS},
        seconds=seconds.tolist(),
        batching=batching,
        seed=0,
        weights_at=lambda step: WEIGHTS,
        bucket_steps=bucket_steps,
        source_of=np.arange(len(seconds)) % len(SOURCE_WEIGHTS),
        source_weights=SOURCE_WEIGHTS,
    )


def by_frames(frame_multiple: int) -> ByFrames:
    return ByFrames(
        max_frames=MAX_FRAMES, longest_seconds=MAX_SECONDS, frame_rate=FRAME_RATE, frame_multiple=frame_multiple
    )


def useful(plan: Plan, sizes: ByFrames, *, num_steps: int) -> dict[str, float]:
    """Useful and filled frames of the plan's global batches, and how much a step costs to plan."""
    whole = ByFrames(max_frames=sizes.max_frames, longest_seconds=MAX_SECONDS, frame_rate=FRAME_RATE, frame_multiple=1)
    begin = time.process_time()
    batches = [[plan.seconds[draw.row] for draw in plan.batch(step)] for step in range(num_steps)]
    spent = time.process_time() - begin
    real = sum(whole.size(seconds) for batch in batches for seconds in batch)
    padded = np.array([len(batch) * sizes.size(max(batch)) for batch in batches])
    counts = [len(batch) for batch in batches]
    return {
        "useful": real / float(padded.sum()),
        "mean_cost": float(padded.mean()),
        "largest_cost": int(padded.max()),
        "cost_p1": float(np.quantile(padded, 0.01)),
        "clips_min": min(counts),
        "clips_max": max(counts),
        "plan_ms_per_step": 1e3 * spent / num_steps,
    }


def return_to(seconds: np.ndarray, batching: Batching, *, bucket_steps: int) -> float:
    """Seconds to build the plan and make the batch of step 1,000,000, given the state that a checkpoint has."""
    plan = plan_of(seconds, batching, bucket_steps=bucket_steps)
    drawn = FAR * CLIPS
    tallies = [{"drawn": [drawn // 3] * 3, "weights": None, "lag": [0.0] * 3} for _ in TASKS]
    state = {"window": FAR // plan.bucket_steps, **tallies[0], "sources": tallies}
    begin = time.perf_counter()
    plan = plan_of(seconds, batching, bucket_steps=bucket_steps)
    plan.seek(json.loads(json.dumps(state)))
    plan.batch(FAR)
    return time.perf_counter() - begin


def share_error(weights: np.ndarray, *, num_draws: int, span: int = 1000) -> dict[str, float]:
    """Largest distance of a count from its share: from the start on, and in any ``span`` draws in a row."""
    tally, shares = Tally.empty(len(weights)), tuple(weights.tolist())
    counts = np.zeros((num_draws + 1, len(weights)))
    for number in range(1, num_draws + 1):
        _, tally = tally.draw(shares)
        counts[number] = tally.drawn
    error = counts - np.arange(num_draws + 1)[:, None] * weights
    return {"from_start": float(np.abs(error).max()), "any_1000": float(np.abs(error[span:] - error[:-span]).max())}


def share_errors(num_mixes: int, *, num_draws: int) -> dict[str, dict[str, float]]:
    """The errors of the mixture above, and the largest over drawn ones."""
    rng = np.random.default_rng(0)
    drawn = [share_error(weights, num_draws=num_draws) for weights in rng.dirichlet([0.7] * len(TASKS), size=num_mixes)]
    return {
        "mixture": share_error(np.array(list(WEIGHTS.values())), num_draws=num_draws),
        "worst_of_drawn_mixtures": {key: max(each[key] for each in drawn) for key in drawn[0]},
    }


def make_shards(folder: Path, *, num_files: int = NUM_FILES, seconds: float = SECONDS_OF_A_CLIP) -> Path:
    """Write and pack noisy tones of all tasks as FLAC."""
    rng, rows = np.random.default_rng(0), []
    (folder / "source").mkdir()
    time_axis = np.arange(int(seconds * RATE)) / RATE
    for number in range(num_files):
        tone = 0.3 * np.sin(2 * np.pi * rng.uniform(100, 2000) * time_axis) + 0.02 * rng.standard_normal(len(time_axis))
        soundfile.write(folder / "source" / f"{number}.flac", tone, RATE, subtype="PCM_16")
        rows.append({"file_name": f"{number}.flac", "task": str(TASKS[number % 3]), "text": f"clip {number}"})
    (folder / "source" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pack(folder / "source", folder / "shards", samples_per_shard=max(1, num_files // 4))
    return folder / "shards"


def planned_clips(shards: Path) -> Iterator[object]:
    """Clips as `PlannedSource` reads them, in shuffled batches, without end."""
    settings = SourceSettings(
        sources=(ShardSource(name="all", urls=str(shards)),), batch_size=BATCH, seed=0, weights_at=lambda step: WEIGHTS,
        cut=ClipCut(MAX_SECONDS),
    )  # fmt: skip
    source = PlannedSource(PlannedSource.Config(), settings=settings)
    for _, examples in source.batches(first_step=0, worker=0, num_workers=1):
        yield from (example.sample for example in examples)


def webdataset_clips(shards: Path) -> Iterator[object]:
    """Clips of a plain pipeline: shards with replacement, a shuffle buffer, and the decoding that we use."""
    import webdataset

    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    expand = webdataset.tarfile_to_samples()
    shuffle = webdataset.shuffle(100)
    for item in webdataset.DataPipeline(webdataset.ResampledShards(urls, seed=0), expand, shuffle):
        waveform = audio.read(item["flac"], start_seconds=0.0, max_seconds=MAX_SECONDS, where=item["__key__"])
        record = parse_record(item["json"], where=item["__key__"])
        yield to_sample(record, content=waveform, key=item["__key__"], shard=item["__url__"])


def cpu_seconds(clips: Iterator[object], count: int) -> float:
    begin = time.process_time()
    for _ in itertools.islice(clips, count):
        pass
    return time.process_time() - begin


def compare(shards: Path, *, pairs: int, clips: int = 10 * BATCH) -> dict[str, object]:
    """Clips a CPU second of ours over plain webdataset's: the median of the pairs, and a 95 % bootstrap interval."""
    ours, plain = planned_clips(shards), webdataset_clips(shards)
    for stream in (ours, plain):
        cpu_seconds(stream, clips)
    ratios = []
    for number in range(pairs):
        # Who is first changes, so that a machine that slows down favours no one.
        order = (("ours", ours), ("plain", plain))[:: 1 if number % 2 else -1]
        spent = {name: cpu_seconds(stream, clips) for name, stream in order}
        ratios.append(spent["plain"] / spent["ours"])
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, size=(2000, len(ratios))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {"ratio": float(np.median(ratios)), "interval_95": [float(low), float(high)], "pairs": pairs, "clips_a_side": clips}


def memory_growth(shards: Path, *, num_samples: int) -> dict[str, float]:
    """MB of resident memory that the reading process has more after ``num_samples`` clips than after a tenth of them."""
    clips = planned_clips(shards)
    sizes = []
    for count in (num_samples // 10, num_samples - num_samples // 10):
        for _ in itertools.islice(clips, count):
            pass
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sizes.append(pages * resource.getpagesize() / 1e6)
    return {"samples": num_samples, "growth_mb": sizes[1] - sizes[0], "resident_mb": sizes[1]}


def index_part(*, num_steps: int, num_clips: int) -> dict[str, object]:
    """What needs no audio."""
    seconds = lengths(num_clips)
    windows = {}
    for multiple, bucket_steps in itertools.product(MULTIPLES, WINDOWS):
        sizes = by_frames(multiple)
        windows[f"frames_multiple_{multiple}_window_{bucket_steps}"] = useful(
            plan_of(seconds, sizes, bucket_steps=bucket_steps), sizes, num_steps=num_steps
        )
    for bucket_steps in (1, 8, 64):
        plan = plan_of(seconds, ByClips(CLIPS), bucket_steps=bucket_steps)
        windows[f"clips_multiple_4_window_{bucket_steps}"] = useful(plan, by_frames(4), num_steps=num_steps)
    kinds: dict[str, Callable[[], Batching]] = {"clips": lambda: ByClips(CLIPS), "frames": lambda: by_frames(4)}
    back = {kind: min(return_to(seconds, make(), bucket_steps=64) for _ in range(3)) for kind, make in kinds.items()}
    return {"batches": windows, "first_batch_at_step_1000000_seconds": back}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", nargs="?", type=Path, help="JSON file to write")
    parser.add_argument("--steps", type=int, default=512, help="steps of every plan")
    parser.add_argument("--clips", type=int, default=30_000, help="clips of each task")
    parser.add_argument("--mixes", type=int, default=20, help="mixtures whose shares are measured")
    parser.add_argument("--draws", type=int, default=20_000, help="draws of each mixture")
    parser.add_argument("--pairs", type=int, default=20, help="pairs of readings against webdataset")
    parser.add_argument("--samples", type=int, default=5000, help="clips read for the growth of memory")
    options = parser.parse_args()
    results = index_part(num_steps=options.steps, num_clips=options.clips)
    results["share_error"] = share_errors(options.mixes, num_draws=options.draws)
    with tempfile.TemporaryDirectory() as folder:
        shards = make_shards(Path(folder))
        results["loader_over_webdataset"] = compare(shards, pairs=options.pairs)
        results["memory"] = memory_growth(shards, num_samples=options.samples)
    print(json.dumps(results, indent=2))
    if options.result is not None:
        settings = {key: value for key, value in vars(options).items() if key != "result"}
        machine = machine_record() | {"load_1_min": os.getloadavg()[0]}
        write_bytes(options.result, (json.dumps({"results": results, "settings": settings, "machine": machine}, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
