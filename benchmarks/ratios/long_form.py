"""P6: what a block costs in minute 10 against minute 1, with a sliding history; and what memory grows by."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Iterator, Sequence

import torch

from benchmarks.ratios.ours import build
from benchmarks.ratios.readings import Goal, Reading, row
from benchmarks.serving import resident_megabytes
from calm.generation import AudioCALM
from calm.generation.sampler import sample_blocks

MODEL, MINUTES, WINDOW_SECONDS = "13m", 10, 20.0

#: processor seconds that model and decoder spend on a block
Spent = tuple[float, float]


def blocks(pipeline: AudioCALM) -> Iterator[Spent]:
    """One clip of music without end, two passes a block."""
    asked = {"steps": 1, "cfg_scale": 1.0, "window_seconds": WINDOW_SECONDS}
    plan = pipeline.plan("A calm piano melody.", task="music", duration=60.0 * MINUTES, **asked)
    vae, decoder = pipeline.model.vae, pipeline.model.vae.stream()
    sampled = sample_blocks(pipeline.model, **plan.sampling)
    while True:
        started = time.process_time()
        block = next(sampled)
        between = time.process_time()
        with torch.no_grad():
            decoder.push(vae.denormalize(block.latents))
        yield between - started, time.process_time() - between


def sides(rounds: int) -> tuple[list[Spent], list[Spent], list[float]]:
    """Blocks of minute 10 of one clip and of minute 1 of another, in turns; MB after minutes 1 and 10 of the first."""
    pipeline = build(MODEL)
    minute = round(60 * pipeline.model.vae.frame_rate / pipeline.model.config.block_sizes[0])
    old, memory = blocks(pipeline), []
    for minutes in (1, MINUTES - 2):
        for _ in itertools.islice(old, minutes * minute):
            pass
        gc.collect()
        memory.append(resident_megabytes())
    # What fills the history is not compared: the first minute is one with a full window.
    new = blocks(pipeline)
    for _ in itertools.islice(new, minute // 2):
        pass
    pairs = list(zip(itertools.islice(old, minute // 2), itertools.islice(new, minute // 2), strict=True))
    return [late for late, _ in pairs], [early for _, early in pairs], memory


def growth(late: Sequence[float], early: Sequence[float], rounds: int) -> dict[str, float]:
    """Median over median; the range is that of as many parts as there are rounds."""
    parts = [statistics.median(late[part::rounds]) / statistics.median(early[part::rounds]) for part in range(rounds)]
    return {"ratio": statistics.median(late) / statistics.median(early), "low": min(parts), "high": max(parts)}


@row("P6")
def level(rounds: int) -> Iterator[Reading]:
    """Processor milliseconds of a block, model and decoder apart, and resident memory, over ten minutes of one clip."""
    late, early, memory = sides(rounds)
    for index, part in enumerate(("model", "decoder")):
        last, first = ([spent[index] for spent in side] for side in (late, early))
        yield Reading(
            row="P6",
            key=f"P6 {part}",
            what=f"a block of the {part}, 13 M, {WINDOW_SECONDS:g} s of history: minute {MINUTES} / minute 1",
            ours=f"{1000 * statistics.median(last):.3g} ms",
            peer=f"{1000 * statistics.median(first):.3g} ms",
            **growth(last, first, rounds),
            goal=Goal(sense="<=", value=1.05, limit="1"),
        )
    grown = memory[1] - memory[0]
    yield Reading(
        row="P6",
        key="P6 memory",
        what=f"memory from minute 1 to minute {MINUTES - 1}, MB",
        ours=f"{memory[1]:.0f} MB",
        peer=f"{memory[0]:.0f} MB",
        ratio=grown,
        low=grown,
        high=grown,
        goal=Goal(sense="<=", value=5.0),
    )
