"""What one of two gloo processes does, with MASTER_ADDR, MASTER_PORT and LOCAL_RANK in its environment.

Rank 1 never sees speech. Each scenario's outcome is written to OUT/SCENARIO-RANK.json.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback

from calm.training.fit import train
from calm.training.interruption import Interrupted
from tests.training.toy import FollowData, ToyBatch, ToyData, ToyRoot, toy_batch, toy_config, toy_root

TASKS_OF_RANK = ((0, 0, 1, 2), (1, 2, 2, 1))
STEPS = 8


def batch_of(step: int, rank: int) -> ToyBatch:
    return toy_batch(step, rank=rank, tasks=TASKS_OF_RANK[rank])


class SignalRankOne(Callback):
    def on_before_backward(self, trainer, pl_module, loss):
        if trainer.global_rank == 1 and trainer.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)


def run(out: Path, name: str, root: ToyRoot, make, *callbacks: Callback, **options) -> None:
    rank = int(os.environ["LOCAL_RANK"])
    config = toy_config(out / name, max_steps=STEPS, devices="2", strategy="ddp", **options)
    outcome = {"step": None, "interrupted_at": None}
    try:
        result = train(root, ToyData(make), config=config, progress=False, callbacks=[FollowData(), *callbacks])
        outcome["step"] = result.step
    except Interrupted as error:
        outcome["interrupted_at"] = error.step
    outcome["rows"] = root.rows_seen
    outcome["weights"] = torch.cat([p.detach().flatten() for p in root.parameters()]).tolist()
    (out / f"{name}-{rank}.json").write_text(json.dumps(outcome))


def main(out: Path) -> None:
    rank = int(os.environ["LOCAL_RANK"])

    def plain(step: int) -> ToyBatch:
        return batch_of(step, rank)

    def poisoned(step: int) -> ToyBatch:
        batch = plain(step)
        return dataclasses.replace(batch, x=batch.x * float("nan")) if rank == 1 and step == 5 else batch

    run(out, "plain", toy_root(noise=0.0), plain)
    run(out, "poisoned", toy_root(), poisoned)
    run(out, "straight", toy_root(), plain)
    run(out, "broken", toy_root(), plain, SignalRankOne())
    (out / f"interrupted-{rank}.json").write_text((out / f"broken-{rank}.json").read_text())
    run(out, "broken", toy_root(), plain, ckpt_path="last")
