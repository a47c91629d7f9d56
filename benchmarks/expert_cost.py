"""What the speech expert costs a batch without speech.

    python benchmarks/expert_cost.py [RESULT.json] [--pairs 30]

Forward + backward of one batch of sound and music, with the expert and without it, in alternation, on one
thread, in processor time, which busy neighbours disturb less than wall time. The goal is a ratio of at most
1.02 and not one row through the expert. A second reading, with speech in a quarter of the batch, stands beside
its ideal.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from calm.audio import write_bytes
from calm.evaluation.machine import machine_record
from calm.model.ar_flow import ARFlow
from calm.model.flow import Targets
from calm.model.prompt import Prompt
from calm.registry import build

DIM, LAYERS, HEADS, FFN = 384, 8, 6, 1024
LATENT_DIM, BLOCK_SIZE, FRAMES, TEXT = 64, 8, 48, 50
BATCH = 4


def build_root(*, seed: int = 0) -> ARFlow:
    """A generator of about 20 M weights on a stand-in VAE: the latents are given, so it is never called."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vae = build("vae", {**_TINY_VAE, "latent_dim": LATENT_DIM})
        sizes = {"dim": DIM, "num_layers": LAYERS, "num_heads": HEADS, "num_kv_heads": HEADS, "ffn_dim": FFN}
        backbone = build("backbone", {"name": "transformer", **sizes})
        return ARFlow(
            ARFlow.Config(block_sizes=(BLOCK_SIZE,)),
            vae=vae,
            backbone=backbone,
            head=build("head", "rectified_flow", dim=DIM, latent_dim=LATENT_DIM),
            expert=build("expert", "speech_ffn", dim=DIM, ffn_dim=FFN, num_layers=LAYERS),
        )


_TINY_VAE = {
    "name": "stft_vae", "sample_rate": 16000, "channels": 1, "patch": 2, "num_heads": 2, "attention_window_frames": 4,
    "strides": (4, 4), "encoder_widths": (4, 8), "num_encoder_layers": 1, "num_aggregator_layers": 1, "decoder_width": 16,
    "num_decoder_layers": 1, "output_width": 16, "num_output_blocks": 1, "n_fft": 32, "stft_hop": 8,
}  # fmt: skip


def batch_of(tasks: list[int]) -> tuple[Prompt, Targets]:
    generator = torch.Generator().manual_seed(1)
    count = len(tasks)
    prompt = Prompt(
        task=torch.tensor(tasks),
        text=torch.randint(3, 250, (count, TEXT), generator=generator),
        num_text=torch.full((count,), TEXT),
        reference=torch.zeros(count, 0, LATENT_DIM),
        num_reference=torch.zeros(count, dtype=torch.int64),
    )
    targets = Targets.prepare(
        torch.randn(count, FRAMES, LATENT_DIM, generator=generator),
        num_frames=torch.full((count,), FRAMES),
        complete=torch.ones(count, dtype=torch.bool),
        task=prompt.task,
        block_size=BLOCK_SIZE,
        num_copies=1,
        generator=generator,
    )
    return prompt, targets


def step(root: ARFlow, prompt: Prompt, targets: Targets) -> None:
    """Forward and backward, without optimizer."""
    root.zero_grad(set_to_none=True)
    time_of_history = torch.ones_like(targets.latents[..., 0])
    velocity, stop, idle = root.predict(prompt, targets, history=targets.latents, history_time=time_of_history)
    (velocity.square().mean() + stop.square().mean() + idle).backward()


def seconds(run: Callable[[], None]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def paired(first: Callable[[], None], second: Callable[[], None], *, pairs: int) -> dict[str, float]:
    """Ratio first / second over alternating pairs; the order within a pair alternates as well."""
    first(), second()
    ratios, times = [], ([], [])
    for index in range(pairs):
        if index % 2:
            b, a = seconds(second), seconds(first)
        else:
            a, b = seconds(first), seconds(second)
        ratios.append(a / b)
        times[0].append(a), times[1].append(b)
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "ratio": middle,
        "quartile_low": low,
        "quartile_high": high,
        "ratio_of_minima": min(times[0]) / min(times[1]),
        "seconds_with": statistics.median(times[0]),
        "seconds_without": statistics.median(times[1]),
        "pairs": pairs,
    }


def measure(root: ARFlow, tasks: list[int], *, pairs: int) -> dict[str, float]:
    """Cost of the expert for one batch of tasks, and the rows that went through it in one step."""
    prompt, targets = batch_of(tasks)
    expert, rows = root.expert, []
    handle = expert.register_forward_pre_hook(lambda module, inputs: rows.append(_num_rows(inputs)))
    step(root, prompt, targets)
    handle.remove()

    def run(which) -> None:
        root.expert = which
        step(root, prompt, targets)

    result = paired(lambda: run(expert), lambda: run(None), pairs=pairs)
    root.expert = expert
    return {**result, "expert_rows": sum(rows), "expert_calls": len(rows)}


def _num_rows(inputs: tuple) -> int:
    return next((value.shape[0] for value in inputs if isinstance(value, Tensor)), 0)


def ideal(root: ARFlow, *, share: float) -> float:
    """Cost ratio if time were multiplications: ``share`` of the clips pass their audio rows through the expert."""
    body, expert = (sum(p.numel() for p in part.parameters() if p.ndim == 2) for part in (root.backbone.layers, root.expert))
    audio = 2 * FRAMES / (2 * FRAMES + TEXT)
    return 1 + share * audio * expert / body


def report(name: str, goal: str, result: dict[str, float]) -> None:
    print(
        f"{name}: {result['ratio']:.3f} (quartiles {result['quartile_low']:.3f} to {result['quartile_high']:.3f}, "
        f"fastest/fastest {result['ratio_of_minima']:.3f}, {result['pairs']} pairs; goal {goal}); "
        f"{1000 * result['seconds_with']:.0f} ms against {1000 * result['seconds_without']:.0f} ms; "
        f"{result['expert_rows']} rows through the expert"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", nargs="?", type=Path, help="JSON file to write")
    parser.add_argument("--pairs", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    root = build_root().train()
    results = {
        "without_speech": measure(root, [1, 2] * (BATCH // 2), pairs=options.pairs),
        "quarter_speech": measure(root, [0, 1, 2, 1] * (BATCH // 4), pairs=options.pairs),
    }
    report("without speech", "<= 1.02, 0 rows", results["without_speech"])
    report("25 % speech", f"<= 1.05 x ideal {ideal(root, share=0.25):.3f}", results["quarter_speech"])
    if options.result is not None:
        sizes = {"dim": DIM, "layers": LAYERS, "rows": TEXT + 2 * FRAMES, "batch": BATCH, "block_size": BLOCK_SIZE}
        machine = machine_record() | {"threads": 1, "load": os.getloadavg()[0]}
        write_bytes(options.result, (json.dumps({"results": results, "sizes": sizes, "machine": machine}, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
