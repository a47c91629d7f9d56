"""What a lower precision gains and costs on this machine's CPU.

    chrt -r 1 python benchmarks/precision.py [RESULT.json] [--rounds 7]

Every figure is a ratio against the same model in float32, measured in turns (fp32, bf16, fp16, int8, int8_rows, fp32, ...) on one
thread; the median and the range over rounds are reported. `mini` and, for times alone, a backbone of 77 M with random
weights: one pass of 4 rows against a history, one ODE step with guidance, a whole block, whole clips. Beside them the
relative error of latents against float32, what the neighbours in a batch change, memory, and the pass over the time
that reading its weights takes at the bandwidth measured in the same run. What a precision does to words and voices:
`benchmarks/precision_words.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.ratios.readings import compare
from benchmarks.ratios.turns import turns
from calm.audio import write_bytes
from calm.config import load_config
from calm.evaluation.machine import machine_record
from calm.generation import AudioCALM
from calm.generation.plan import Call, make_plan
from calm.model.packed import PACKED, PackedLinear, missing
from calm.model.precision import set_precision
from calm.model.prompt import Prompt
from calm.types import Task

TEXTS = {
    "speech": "The quick train leaves the old harbour at half past seven.",
    "sound": "A dog barks twice while it rains.",
    "music": "A calm piano melody over guitar.",
}
#: as many weights as the peers' backbone of this size, six layers wide
LARGE = ("experiment=mini", "vae_ckpt_path=null", "backbone.dim=1024", "backbone.num_heads=16", "backbone.num_kv_heads=16", "backbone.ffn_dim=2816")  # fmt: skip
ROWS, HISTORY, SECONDS, SCALE = 4, 32, 2.0, 2.0
#: bytes per packed weight
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1, "int8_rows": 1}


def mini(precision: str) -> AudioCALM:
    return AudioCALM.from_pretrained("mini", device="cpu", precision=precision)


def large(precision: str) -> AudioCALM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = AudioCALM.from_config(load_config(LARGE))
    set_precision(pipeline.model, precision)
    return pipeline


def prompt_of(pipeline: AudioCALM, task: str = "speech") -> Prompt:
    call = Call(text=TEXTS[task], task=Task.parse(task), duration=SECONDS)
    return make_plan(pipeline.model, pipeline.sampler, call, text_style=pipeline.text_style).prompt


def guided(branch, x: Tensor, *, steps: int) -> Tensor:
    """A block x [1, K, C] from its noise, by uniform Euler steps with guidance."""
    for step in range(steps):
        conditional, free = branch.velocity(torch.cat([x, x]), torch.full((2,), step / steps)).chunk(2)
        x = x + (free + SCALE * (conditional - free)) / steps
    return x


def workloads(pipeline: AudioCALM) -> dict[str, Callable[[], Any]]:
    """The pieces of generation that are timed, against a history of speech."""
    model, steps = pipeline.model, pipeline.sampler.num_steps
    prompt, block = prompt_of(pipeline), model.config.block_sizes[0]
    alone = model.open(prompt, block_size=ROWS)
    pair = model.open(Prompt.stack(prompt, prompt.without_conditions()), block_size=block)
    draw = torch.Generator().manual_seed(0)
    for _ in range(HISTORY // ROWS):
        alone.append(torch.randn(1, ROWS, model.vae.latent_dim, generator=draw))
    for _ in range(HISTORY // block):
        pair.append(torch.randn(2, block, model.vae.latent_dim, generator=draw))
    rows = torch.randn(1, ROWS, model.backbone.dim, generator=draw)
    noise = torch.randn(1, block, model.vae.latent_dim, generator=draw)

    def whole_block() -> None:
        latents = guided(pair, noise, steps=steps)
        pair.append(torch.cat([latents, latents]))

    return {
        "pass_of_4_rows": lambda: alone.rollout.run(rows),
        "ode_step": lambda: guided(pair, noise, steps=1),
        "block": whole_block,
        "generate": lambda: pipeline.generate(TEXTS["speech"], task="speech", duration=SECONDS),
    }


def in_turns(jobs: dict[str, Callable[[], Any]], *, rounds: int, repeats: int) -> dict[str, Any]:
    """Milliseconds by precision, and the ratio fp32 / precision of every round."""
    found = {name: times.wall for name, times in turns(jobs, rounds=rounds, repeats=repeats).items()}
    result = {}
    for name, wall in found.items():
        ratios = compare(found["fp32"], wall)
        result[name] = {
            "milliseconds": 1000 * statistics.median(wall),
            "ratio": ratios["ratio"],
            "ratio_low": ratios["low"],
            "ratio_high": ratios["high"],
        }
    return result


def times(pipelines: dict[str, AudioCALM], *, rounds: int) -> dict[str, Any]:
    jobs = {name: workloads(pipeline) for name, pipeline in pipelines.items()}
    repeats = {"pass_of_4_rows": 10, "ode_step": 20, "block": 4, "generate": 1}
    return {
        what: in_turns({name: each[what] for name, each in jobs.items()}, rounds=rounds, repeats=count)
        for what, count in repeats.items()
    }


def bandwidth() -> float:
    """Bytes per second of one thread that reads memory far beyond the caches, best of several."""
    numbers = torch.zeros(64 * 2**20)
    return numbers.nbytes / min(turns({"sum": numbers.sum}, rounds=7)["sum"].wall)


def over_reading(pipeline: AudioCALM, precision: str, *, milliseconds: float, speed: float) -> float:
    """A pass over the time that reading the weights of the backbone's layers takes (P2)."""
    kinds = (PackedLinear, torch.nn.Linear)
    weights = sum(m.in_features * m.out_features for m in pipeline.model.backbone.modules() if isinstance(m, kinds))
    return milliseconds / 1000 / (weights * BYTES[precision] / speed)


def error(ours: Tensor, reference: Tensor) -> float:
    return float((ours - reference).norm() / reference.norm())


def errors(pipelines: dict[str, AudioCALM]) -> dict[str, Any]:
    """Relative L2 of latents against float32: free-running, and block by block after float32's own history."""
    found: dict[str, Any] = {}
    clips = {n: {t: clip_of(p, t) for t in TEXTS} for n, p in pipelines.items()}
    for name, pipeline in pipelines.items():
        block = pipeline.model.config.block_sizes[0]
        found[name] = {
            task: {
                "first_block": error(clips[name][task][:block], clips["fp32"][task][:block]),
                "clip": error(clips[name][task], clips["fp32"][task]),
                "taught": taught_error(pipeline, pipelines["fp32"], task, clips["fp32"][task]),
            }
            for task in TEXTS
        }
    return found


def clip_of(pipeline: AudioCALM, task: str) -> Tensor:
    return pipeline.generate(TEXTS[task], task=task, duration=SECONDS)[0].latents


def taught_error(pipeline: AudioCALM, reference: AudioCALM, task: str, history: Tensor) -> float:
    """Mean over blocks of the error of one block, where both have the same history [F, C]."""
    block, steps, found = reference.model.config.block_sizes[0], reference.sampler.num_steps, []
    branches = []
    for each in (pipeline, reference):
        prompt = prompt_of(each, task)
        branches.append(each.model.open(Prompt.stack(prompt, prompt.without_conditions()), block_size=block))
    draw = torch.Generator().manual_seed(0)
    for piece in history[: len(history) // block * block].split(block):
        noise = torch.randn(1, *piece.shape, generator=draw)
        found.append(error(*(guided(branch, noise, steps=steps) for branch in branches)))
        for branch in branches:
            branch.append(piece.expand(2, -1, -1))
    return statistics.mean(found)


def neighbours(pipelines: dict[str, AudioCALM]) -> dict[str, Any]:
    """First block of a clip alone and beside seven others: what the others change, and the precision itself."""
    texts, found = [TEXTS["speech"], *(f"Number {n} is waiting outside." for n in range(7))], {}
    for name, pipeline in pipelines.items():
        make = lambda text, p=pipeline: p.generate(text, task="speech", duration=SECONDS)[0].latents  # noqa: E731
        alone, beside = make(texts[0]), make(texts)
        true = pipelines["fp32"].generate(texts[0], task="speech", duration=SECONDS)[0].latents
        block = pipeline.model.config.block_sizes[0]
        found[name] = {
            "moved_first_block": error(beside[:block], alone[:block]),
            "error_first_block": error(alone[:block], true[:block]),
            "moved_clip": error(beside, alone),
            "error_clip": error(alone, true),
        }
    return found


def resident_megabytes(precision: str) -> float:
    """Memory of a fresh process that has loaded `mini`, minus the same process before it did."""
    code = (
        "import gc, sys; from pathlib import Path; from calm.generation import AudioCALM\n"
        "import torch._dynamo\n"
        "def now(): gc.collect(); return int(Path('/proc/self/statm').read_text().split()[1]) * 4096 / 1e6\n"
        "before = now(); model = AudioCALM.from_pretrained('mini', device='cpu', precision=sys.argv[1])\n"
        "model.generate('Hello.', task='speech', duration=0.5); sys.stdout.write(str(now() - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, precision], capture_output=True, text=True, check=True)
    return float(done.stdout)


@torch.no_grad()
def measure(*, rounds: int) -> dict[str, Any]:
    names = ["fp32", *(name for name in PACKED if missing(name) is None)]
    small = {name: mini(name) for name in names}
    results: dict[str, Any] = {"mini": times(small, rounds=rounds), "errors": errors(small), "neighbours": neighbours(small)}
    results["memory_megabytes"] = {name: resident_megabytes(name) for name in names}
    big = {name: large(name) for name in names}
    results["random_77m"], results["bandwidth"] = times(big, rounds=rounds), bandwidth()
    for key, pipelines in (("mini", small), ("random_77m", big)):
        for name, row in results[key]["pass_of_4_rows"].items():
            row["over_reading"] = over_reading(
                pipelines[name], name, milliseconds=row["milliseconds"], speed=results["bandwidth"]
            )
    return results


def report(results: dict[str, Any]) -> None:
    for key in ("mini", "random_77m"):
        for what, row in results[key].items():
            said = (f"{n} {r['ratio']:.2f} ({r['ratio_low']:.2f} to {r['ratio_high']:.2f}; {r['milliseconds']:.2f} ms)" for n, r in row.items())
            print(f"{key} {what}: " + ", ".join(said))
        reading = {name: round(row["over_reading"], 2) for name, row in results[key]["pass_of_4_rows"].items()}
        print(f"{key} pass over reading its weights: {reading}")
    for key in ("errors", "neighbours", "memory_megabytes"):
        print(f"{key}: {json.dumps(results[key], indent=1)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", nargs="?", type=Path, help="JSON file to write")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = measure(rounds=options.rounds)
    report(results)
    if options.result is not None:
        machine = machine_record() | {"threads": 1, "load": os.getloadavg()[0]}
        write_bytes(options.result, (json.dumps({"results": results, "machine": machine}, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
