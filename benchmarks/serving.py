"""Load on the engine: clients that ask, listen and leave; and how much faster requests are together.

    python benchmarks/serving.py RESULT.json --clients 64 --seconds 180 --cancel 0.3 --threads 1

Every stream that is not cancelled is compared with the clip that `generate` makes alone of the same seed.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import random
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from calm.audio import write_bytes
from calm.evaluation.machine import machine_record
from calm.generation import AudioCALM
from calm.serving import Busy, Engine, Limits
from calm.serving.job import Job

REQUESTS = [
    {"text": "A bell rings twice.", "task": "sound", "duration": 1.6},
    {"text": "Good morning, how are you?", "task": "speech"},
    {"text": "A slow piano piece with strings.", "task": "music", "duration": 3.2},
    {"text": "Rain falls on a roof.", "task": "sound", "duration": 2.4, "steps": 4},
    {"text": "Please close the window before you leave.", "task": "speech", "cfg_scale": 1.5},
    {"text": "A fast melody of a flute.", "task": "music", "duration": 2.0, "cfg_scale": 1.0},
]
#: seeds of every request above
SEEDS = 2
CLIPS_TOGETHER = 16


@dataclass
class Heard:
    """What the clients of one run saw."""

    first_audio: list[float] = field(default_factory=list)
    queued: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    relative: list[float] = field(default_factory=list)
    completed: int = 0
    cancelled: int = 0
    busy: int = 0
    lost: int = 0
    memory: list[tuple[float, float]] = field(default_factory=list)


def requests() -> list[dict]:
    return [{**request, "seed": seed} for seed in range(SEEDS) for request in REQUESTS]


def alone(model: AudioCALM, request: dict) -> Tensor:
    pieces = model.generate_streaming(request["text"], **{key: value for key, value in request.items() if key != "text"})
    return torch.cat([piece.audio for piece in pieces], dim=-1)


def relative(audio: Tensor, clip: Tensor) -> float:
    return float((audio - clip).norm() / clip.norm())


def error_of(precision: str, name: str) -> list[float] | None:
    """What the precision itself does to the clips, against float32: the measure of what neighbours may do."""
    if precision == "fp32":
        return None
    models = [AudioCALM.from_pretrained(name, device="cpu", precision=kind) for kind in (precision, "fp32")]
    # Lengths may differ where the model decides them.
    asked = [request for request in requests() if "duration" in request]
    return [relative(*(alone(model, request) for model in models)) for request in asked]


class Clients:
    """Threads that send one request after another until the time is over."""

    def __init__(self, engine: Engine, expected: list[tuple[dict, Tensor]], *, cancel: float, until: float) -> None:
        self.engine, self.expected, self.cancel, self.until = engine, expected, cancel, until
        self.heard, self._lock = Heard(), threading.Lock()

    def run(self, number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < self.until:
            request, clip = chance.choice(self.expected)
            leave_after = chance.randint(0, 8) if chance.random() < self.cancel else None
            try:
                stream = self.engine.submit(**request, client=str(number))
            except Busy:
                with self._lock:
                    self.heard.busy += 1
                threading.Event().wait(chance.random())
                continue
            self._listen(stream, clip, leave_after)

    def _listen(self, stream, clip: Tensor, leave_after: int | None) -> None:
        pieces, times, left = [], [], False
        for piece in stream:
            pieces.append(piece.audio)
            times.append(time.monotonic())
            if leave_after is not None and len(pieces) > leave_after:
                left = True  # what is not taken is lost then, also where the clip has just ended
                stream.cancel()
        with self._lock:
            if times:
                self.heard.first_audio.append(stream.timings.first_audio_seconds)
                self.heard.queued.append(stream.timings.queued_seconds)
            self.heard.gaps += [later - one for one, later in itertools.pairwise(times)]
            if left or stream.finish_reason == "cancelled":
                self.heard.cancelled += 1
                return
            self.heard.completed += 1
            audio = torch.cat(pieces, dim=-1)
            same = audio.shape == clip.shape
            self.heard.lost += not same
            if same:
                self.heard.errors.append(float((audio - clip).abs().max()))
                self.heard.relative.append(relative(audio, clip))


def load(model: AudioCALM, *, clients: int, seconds: float, cancel: float) -> dict:
    expected = [(request, alone(model, request)) for request in requests()]
    jobs_before, threads_before = num_jobs(), num_engines()
    began = time.monotonic()
    with Engine(model, Limits(max_queued=2 * clients)) as engine:
        crowd = Clients(engine, expected, cancel=cancel, until=began + seconds)
        threads = [threading.Thread(target=crowd.run, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.5)
            crowd.heard.memory.append((time.monotonic() - began, resident_megabytes()))
        took = time.monotonic() - began
        counted = engine.statistics()
    heard = crowd.heard
    warm = [size for at, size in heard.memory if seconds / 3 <= at < seconds / 2]
    late = [size for at, size in heard.memory if 5 / 6 * seconds <= at <= seconds]
    return {
        "clients": clients,
        "seconds": took,
        "completed": heard.completed,
        "cancelled": heard.cancelled,
        "refused": heard.busy,
        "failed": counted.failed,
        "finished": dict(counted.finished),
        "jobs_left": counted.running + counted.queued,
        "job_objects_left": num_jobs() - jobs_before,
        "threads_left": num_engines() - threads_before,
        "streams_of_another_length": heard.lost,
        "largest_difference": max(heard.errors, default=None),
        "largest_relative_difference": max(heard.relative, default=None),
        "audio_seconds_per_second": sum(counted.audio_seconds.values()) / took,
        "first_audio_seconds": spread(heard.first_audio),
        "queued_seconds": spread(heard.queued),
        "first_audio_after_queue_seconds": spread([a - b for a, b in zip(heard.first_audio, heard.queued, strict=True)]),
        "gap_seconds": spread(heard.gaps),
        "memory_megabytes": {"after_warm_up": mean(warm), "at_the_end": mean(late)},
        "memory_growth": mean(late) / mean(warm) - 1 if warm and late else None,
    }


def throughput(model: AudioCALM, *, rounds: int) -> dict:
    """Seconds for the same clips one at a time and together, in turns."""
    asked = [{**REQUESTS[i % len(REQUESTS)], "seed": i} for i in range(CLIPS_TOGETHER)]
    audio = sum(alone(model, request).shape[-1] for request in asked) / model.sample_rate
    taken: dict[int, list[float]] = {1: [], CLIPS_TOGETHER: []}
    for _ in range(rounds):
        for running, seconds in taken.items():
            with Engine(model, Limits(max_running=running)) as engine:
                began = time.monotonic()
                for stream in [engine.submit(**request) for request in asked]:
                    list(stream)
                seconds.append(time.monotonic() - began)
    ratios = [one / many for one, many in zip(*taken.values(), strict=True)]
    return {
        "clips": CLIPS_TOGETHER,
        "audio_seconds": audio,
        "seconds_one_at_a_time": taken[1],
        "seconds_together": taken[CLIPS_TOGETHER],
        "ratio": statistics.median(ratios) if ratios else None,
        "ratios": ratios,
    }


def num_engines() -> int:
    return sum(thread.name == "calm-engine" for thread in threading.enumerate())


def num_jobs() -> int:
    """Jobs that anything in this process still holds."""
    gc.collect()
    return sum(type(one) is Job for one in gc.get_objects())


def spread(values: list[float]) -> dict[str, float] | None:
    if len(values) < 2:
        return None
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(values), "count": len(values)}


def mean(values: list[float]) -> float | None:
    return statistics.fmean(values) if values else None


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path, help="JSON file to write")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--precision", default="fp32", help="compared with streams alone in the same precision")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--cancel", type=float, default=0.3, help="share of the requests that are left while they run")
    parser.add_argument("--rounds", type=int, default=3, help="of the measurement of throughput")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = AudioCALM.from_pretrained(options.model, device="cpu", precision=options.precision)
    results = {
        "relative_error_of_the_precision": error_of(options.precision, options.model),
        "throughput": throughput(model, rounds=options.rounds),
        "load": load(model, clients=options.clients, seconds=options.seconds, cancel=options.cancel),
    }
    machine = machine_record() | {"threads": options.threads, "load": os.getloadavg()[0]}
    asked = {key: value for key, value in vars(options).items() if key != "result"}
    text = json.dumps({"results": results, "options": asked, "machine": machine}, indent=2)
    write_bytes(options.result, (text + "\n").encode())
    print(text)


if __name__ == "__main__":
    main()
