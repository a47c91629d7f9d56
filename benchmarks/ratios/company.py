"""P12 a busy core beside, P13 sixteen clips together."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.ratios.ours import FAST, build
from benchmarks.ratios.passes import one_pass
from benchmarks.ratios.readings import Goal, Reading, compare, row
from benchmarks.ratios.streaming import Heard, listen, said, stream, values
from benchmarks.ratios.turns import milliseconds, seconds, turns

TOGETHER, SHORT_SECONDS = 16, 2.0


@contextmanager
def busy_core() -> Iterator[None]:
    """Another process that multiplies matrices all the time, at this one's priority."""
    code = "import torch; torch.set_num_threads(1); x = torch.randn(1024, 1024)\nwhile True: (x @ x).sum()"
    other = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        os.sched_setscheduler(other.pid, os.sched_getscheduler(0), os.sched_getparam(0))
        yield
    finally:
        other.kill()
        other.wait()


@row("P12")
def beside_a_busy_core(rounds: int) -> Iterator[Reading]:
    """Wall time of a streamed clip beside a busy core over alone; and whether the player would have waited."""
    start = stream("77m", **FAST)
    listen(start())
    alone: list[Heard] = []
    beside: list[Heard] = []
    for _ in range(rounds):
        alone.append(listen(start()))
        with busy_core():
            listen(start())  # while the other starts
            beside.append(listen(start()))
    underruns = sum(late > 0 for late in values(beside, "late"))
    yield Reading(
        row="P12",
        key="P12",
        what=f"streaming beside a busy core / alone, 77 M (underruns in {underruns} of {rounds} rounds)",
        ours=f"RTF {said(beside, 'wall')}",
        peer=f"alone {said(alone, 'wall')}",
        **compare(values(beside, "wall"), values(alone, "wall")),
        goal=Goal(sense="<=", value=1.5),
        details={"late_seconds": values(beside, "late")},
    )


@row("P13")
def together(rounds: int) -> Iterator[Reading]:
    """Audio per second of 16 clips in one batch over one clip alone: the whole path, and a pass of the backbone."""
    pipeline = build("13m")
    asked = {"task": "sound", "duration": SHORT_SECONDS, **FAST}
    texts = [f"A bell rings {number} times." for number in range(TOGETHER)]
    whole = turns(
        {"one": lambda: pipeline.generate(texts[0], **asked), "many": lambda: pipeline.generate(texts, **asked)}, rounds=rounds
    )
    body = turns({"one": one_pass(build("77m_body")), "many": one_pass(build("77m_body"), batch=TOGETHER)}, rounds=rounds, repeats=10)
    for key, what, found, goal in (
        ("whole path", "13 M, 24 kHz mono, whole path", whole, Goal(sense=">=", value=1.5)),
        ("backbone", "77 M, a pass of 4 rows", body, Goal(sense=">=", value=3.0)),
    ):
        words = seconds if key == "whole path" else milliseconds
        yield Reading(
            row="P13",
            key=f"P13 {key}",
            what=f"{TOGETHER} clips together / one, audio per second: {what}",
            ours=f"{words(found['many'].wall)} for {TOGETHER}",
            peer=f"{words(found['one'].wall)} for one",
            **compare([TOGETHER * t for t in found["one"].wall], found["many"].wall),
            goal=goal,
        )
