"""Figures of one GPU, kept as JSON.

    python -m benchmarks.gpu benchmarks/results/gpu.json [--only attention,dense_training] [--size 1p7b] [--rounds 5]

``attention``: FlexAttention against the dense mask. ``training``: a step of `ar_flow` against a causal model of the same
body, MFU of 989 TFLOP/s, memory against the prediction of `calm doctor`. ``generation``: passes, RTF, first audio;
compiled, as with ``--compile``. Each part runs in a process of its own and is kept as soon as it is there. With ``--small``
a tiny model takes its place, also on a CPU, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.attention import attention
from benchmarks.gpu.generation import generation
from benchmarks.gpu.models import SIZES
from benchmarks.gpu.training import training
from calm.audio import write_bytes
from calm.evaluation.machine import machine_record

#: words of a part's name say how: dense or flex attention, compiled layers or passes, speech through the expert
PARTS = (
    "attention", "dense_training", "flex_training", "compiled_dense_training", "speech_dense_training",
    "generation", "compiled_generation",
)  # fmt: skip


def measure(part: str, options: argparse.Namespace) -> dict[str, Any]:
    shared = {"device": "cuda" if torch.cuda.is_available() else "cpu", "rounds": options.rounds}
    *how, kind = part.split("_")
    compiled = "compiled" in how
    if kind == "attention":
        return attention(**shared, small=options.small)
    if kind == "training":
        clips, frames = (2, 16) if options.small else (options.clips, options.frames)
        kernel = "flex" if "flex" in how else "dense"
        return training(
            options.size, **shared, clips=clips, frames=frames, compiled=compiled, expert="speech" in how, attention=kernel
        )
    seconds, batches = (1.0, (1, 2)) if options.small else (options.seconds, (1, 16))
    return generation(options.size, **shared, seconds=seconds, compiled=compiled, batches=batches)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path, help="JSON file to write; what other parts have there stays")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, comma-separated")
    parser.add_argument("--size", choices=tuple(SIZES), default="1p7b")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=12, help="of a training step")
    parser.add_argument("--frames", type=int, default=320, help="latents of a clip; 320 are 30 s at 10.77 Hz")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a generated clip")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--one", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.size = "tiny" if options.small else options.size
    if options.one:
        print(json.dumps(measure(options.one, options)))
        return
    for part in options.only.split(","):
        command = [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:], "--one", part]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"error": f"exit {done.returncode}"}
        print(part, json.dumps(found, indent=1), flush=True)
        kept = json.loads(options.result.read_text()) if options.result.exists() else {}
        kept.setdefault(options.size, {})[part] = found
        write_bytes(options.result, (json.dumps(kept | {"machine": machine_record()}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
