"""What packing clips into shared sequences saves of a training step, on batches as a run draws them.

    python benchmarks/packing.py [RESULT.json] [--lengths 0,512,1024] [WORDS OF THE RUN ...]

The same batches of `mini` (or of the run that the words name) with each length, in turns: rows that the backbone
computes and that are of use, and processor time of forward and backward (CUDA: seconds).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from calm.audio import write_bytes
from calm.config import load_config
from calm.evaluation.machine import machine_record
from calm.model.build import build_model
from calm.model.generator import Generator
from calm.training.fit import build_data
from calm.types import Batch


def batches_of(config, root: Generator, *, count: int) -> list[Batch]:
    data = build_data(config, root)
    data.setup("fit")
    found = [batch for batch, _ in zip(data.train_dataloader(), range(count), strict=False)]
    data.teardown("fit")
    return found


class RowCount:
    """Rows that the backbone was given, and those among them that are of use."""

    def __init__(self, root: Generator) -> None:
        self.computed = self.useful = 0
        plain = root.pass_sequences

        def counted(x, rows, task):
            self.useful += int(rows.valid.sum())
            return plain(x, rows, task)

        root.pass_sequences = counted
        root.backbone.register_forward_pre_hook(self._add)

    def _add(self, module, args) -> None:
        self.computed += args[0].shape[:2].numel()


def step(root: Generator, batch: Batch) -> float:
    """Forward and backward; seconds of the processor, on CUDA of the clock."""
    root.zero_grad(set_to_none=True)
    on_gpu = root.null_text.is_cuda
    now = time.perf_counter if on_gpu else time.process_time
    begun = now()
    root.losses(batch, generator=torch.Generator().manual_seed(0))["loss"].backward()
    if on_gpu:
        torch.cuda.synchronize()
    return now() - begun


def measure(config, *, lengths: list[int], count: int, rounds: int) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    root = build_model(config).train().to(device)
    batches = [batch.to(device) for batch in batches_of(config, root, count=count)]
    rows = RowCount(root)
    step(root, batches[0])
    seconds: dict[int, list[float]] = {length: [] for length in lengths}
    counts: dict[int, tuple[int, int]] = {}
    for _ in range(rounds):
        for length in lengths:
            root.config = dataclasses.replace(root.config, pack_rows=length)
            rows.computed = rows.useful = 0
            seconds[length].append(sum(step(root, batch) for batch in batches))
            counts[length] = rows.computed, rows.useful
    found = []
    for length in lengths:
        ratios = [a / b for a, b in zip(seconds[length], seconds[lengths[0]], strict=True)]
        found.append({
            "pack_rows": length, "rows": counts[length][0], "useful": counts[length][1] / counts[length][0],
            "seconds": statistics.median(seconds[length]), "over_first": statistics.median(ratios), "low": min(ratios), "high": max(ratios),
        })  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("words", nargs="*", help="settings of the run, key=value")
    parser.add_argument("--lengths", default="0,512,1024", help="pack_rows; the first is compared with")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_intermixed_args()
    words = ["experiment=mini", "vae_ckpt_path=mini_vae", "data.num_workers=0", *options.words]
    lengths = [int(length) for length in options.lengths.split(",")]
    found = measure(load_config(words), lengths=lengths, count=options.batches, rounds=options.rounds)
    for row in found:
        print("  ".join(f"{key} {value:.4g}" for key, value in row.items()))
    if options.result:
        kept = {"results": found, "words": options.words, "machine": machine_record()}
        write_bytes(options.result, (json.dumps(kept, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
