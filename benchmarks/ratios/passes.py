"""P2 a pass over the reading of its weights, P9 what fewer bits gain and cost: pieces of `benchmarks.precision`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import torch

from benchmarks.precision import BYTES, TEXTS, bandwidth, clip_of, mini, over_reading, prompt_of, taught_error
from benchmarks.ratios.ours import build
from benchmarks.ratios.readings import Goal, Reading, compare, row
from benchmarks.ratios.turns import milliseconds, turns
from calm.generation import AudioCALM

ROWS, HISTORY, REPEATS = 4, 32, 20


def one_pass(pipeline: AudioCALM, *, batch: int = 1) -> Callable[[], object]:
    """A pass of 4 rows through the backbone against a prompt and 32 rows of history."""
    model, draw = pipeline.model, torch.Generator().manual_seed(0)
    prompt = prompt_of(pipeline, "sound")
    while len(prompt) < batch:
        prompt = type(prompt).stack(prompt, prompt)
    with torch.no_grad():
        branch = model.open(prompt, block_size=ROWS)
        for _ in range(HISTORY // ROWS):
            branch.append(torch.randn(batch, ROWS, model.vae.latent_dim, generator=draw))
    rows = torch.randn(batch, ROWS, model.backbone.dim, generator=draw)

    def run() -> None:
        with torch.no_grad():
            branch.rollout.run(rows)

    return run


@row("P2")
def over_bandwidth(rounds: int) -> Iterator[Reading]:
    """A pass of 4 rows over the time that its weights take to read, at the bandwidth measured between the rounds."""
    goals = {"77m": Goal(sense="<=", value=2.5, bar=4.0, limit="1: memory"), "26m": Goal(sense="<=", value=4.0, limit="1: memory")}
    for size, goal in goals.items():
        for precision in ("int8", "fp16"):
            pipeline = build(f"{size}_body", precision)
            job, speeds, found = one_pass(pipeline), [], []
            job()
            for _ in range(rounds):
                speeds.append(bandwidth())
                found.append(turns({"pass": job}, rounds=1, repeats=REPEATS)["pass"].wall[0])
            over = [over_reading(pipeline, precision, milliseconds=1000 * t, speed=s) for t, s in zip(found, speeds, strict=True)]
            reading = [t / ratio for t, ratio in zip(found, over, strict=True)]
            yield Reading(
                row="P2",
                key=f"P2 {size} {precision}",
                what=f"pass of 4 rows, {size[:2]} M, {precision} / reading its {BYTES[precision]}-byte weights",
                ours=milliseconds(tuple(found)),
                peer=f"{milliseconds(tuple(reading))} at {statistics.median(speeds) / 1e9:.1f} GB/s",
                **compare(found, reading),
                goal=goal if precision == "int8" else None,
            )


@row("P9")
def fewer_bits(rounds: int) -> Iterator[Reading]:
    """Float32 over int8 and fp16 for one pass, and the error of a block of `mini` after the same history."""
    goals = {"int8": (Goal(sense=">=", value=4.0, bar=3.5), 0.03), "fp16": (Goal(sense=">=", value=2.5), 0.001)}
    with torch.no_grad():
        true = mini("fp32")
        clips = {task: clip_of(true, task) for task in TEXTS}
        errors = {
            name: {task: taught_error(mini(name), true, task, clip) for task, clip in clips.items()} for name in goals
        }
    for precision, (goal, largest) in goals.items():
        jobs = {name: one_pass(build("77m_body", name)) for name in ("fp32", precision)}
        found = turns(jobs, rounds=rounds, repeats=REPEATS)
        yield Reading(
            row="P9",
            key=f"P9 {precision}",
            what=f"pass of 4 rows, 77 M: float32 / {precision}",
            ours=milliseconds(found[precision].wall),
            peer=f"float32 {milliseconds(found['fp32'].wall)}",
            **compare(found["fp32"].wall, found[precision].wall),
            goal=goal,
        )
        worst = max(errors[precision].values())
        yield Reading(
            row="P9",
            key=f"P9 {precision} error",
            what=f"error of a block of mini in {precision}, speech, sound, music: worst",
            ours=", ".join(f"{100 * error:.2g} %" for error in errors[precision].values()),
            peer="float32, same history",
            ratio=worst,
            low=min(errors[precision].values()),
            high=worst,
            goal=Goal(sense="<=", value=largest),
        )
