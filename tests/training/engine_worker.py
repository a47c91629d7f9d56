"""What one of the processes of test_engines.py does: a training for each word, NAME=ENGINE[,KEY=VALUE...]."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback
from torch.nn.parallel import DistributedDataParallel

from calm.config import RunConfig, load_config
from calm.model.lora import adapt
from calm.model.lora_config import LoRAConfig
from calm.training.config import CurriculumConfig, OptimConfig, Phase
from calm.training.fit import train
from tests.factory import tiny_batch, tiny_generator
from tests.training.engines import Dump, TinyData, batch_of
from tests.training.toy import FollowData, toy_config

#: the expert joins while training is under way
PHASES = CurriculumConfig(phases=[Phase(name="shared", until_step=3, expert="off"), Phase(name="joint", expert="on")])
PROMPTS = {"sound": ["rain"]}


class Poison(Callback):
    """NaN in the batch of one rank, at one step."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_rank == 1 and batch.step == 4:
            batch.audio.mul_(float("nan"))


@functools.cache
def tiny() -> RunConfig:
    """Composed once for all trainings of a process."""
    return load_config(["experiment=tiny", "sampler.num_steps=1"])


def run(out: Path, name: str, engine: str, options: dict[str, str]) -> None:
    rank, world_size = int(os.environ["LOCAL_RANK"]), int(os.environ["ENGINE_WORLD_SIZE"])
    start = options.pop("from", None)
    lora = LoRAConfig(name="lora", rank=2, alpha=4.0) if options.pop("lora", None) else None
    prompts = PROMPTS if options.pop("rendered", None) else {}
    callbacks = [FollowTiny(), Dump(out / f"{name}.pt"), *([Poison()] if options.pop("poison", None) else [])]
    settings = {key: int(value) if value.isdigit() else value for key, value in options.items()}
    settings = {"max_steps": 10, "save_every_steps": 5, "sample_seconds": 0.05, "prompts": prompts, **settings}
    config = toy_config(out / name, curriculum=PHASES, devices=str(world_size), strategy=engine, **settings)
    config = dataclasses.replace(
        config,
        ckpt_path=str(out / start) if start else None,
        lora=lora,
        optim=OptimConfig(learning_rate=1e-3, warmup_steps=2, ema_decay=0.9),
        data=tiny().data,
        sampler=tiny().sampler,
    )
    root = adapt(tiny_generator("ar_flow"), lora)
    channels = root.vae.latent_dim
    root.vae.set_statistics(torch.zeros(channels).double(), torch.full((channels,), 100.0).double(), 100)
    train(root, TinyData(rank), config=config, progress=False, callbacks=callbacks)


class Step(torch.nn.Module):
    """What DDP wraps: a module whose forward is the training step."""

    def __init__(self, root) -> None:
        super().__init__()
        self.root = root

    def forward(self, batch, seed: int):
        return self.root.losses(batch, generator=torch.Generator().manual_seed(seed))["loss"]


def share(split: int, rank: int):
    """A rank's clips: of random number and task; every third split leaves rank 1, and every fifth both, without speech."""
    random = torch.Generator().manual_seed(10 * split + rank)
    count = int(torch.randint(1, 5, (), generator=random))
    without = (rank == 1 and split % 3 == 0) or split % 5 == 4
    tasks = torch.randint(int(without), 3, (count,), generator=random).tolist()
    batch = tiny_batch(tasks, frames=8 + 4 * (split % 3), reference_frames=4, seed=10 * split + rank)
    return dataclasses.replace(batch, audio=batch.audio.double(), reference=batch.reference.double())


def compare_splits(out: Path, count: int) -> None:
    """Write the largest difference, over its norm, between the expert's gradient on all ranks and in one process."""
    rank, found = torch.distributed.get_rank(), []
    for split in range(count):
        together = tiny_generator().double().train()
        step = DistributedDataParallel(Step(together))  # kept until the backward pass: its hooks go with it
        step(share(split, rank), seed=2 * split + rank).backward()
        # One process: the sums of all shares over the counts of all shares.
        alone = tiny_generator().double().train()
        terms = [alone.flow_terms(share(split, r), torch.Generator().manual_seed(2 * split + r)) for r in range(2)]
        error = sum((term.error * term.valid[:, None]).sum() for term in terms) / sum(term.valid.sum() for term in terms)
        (error + sum(term.idle for term in terms)).backward()
        pairs = [(p.grad, q.grad) for p, q in zip(together.expert.parameters(), alone.expert.parameters(), strict=True)]
        found.append(max(float((p - q).norm() / q.norm().clamp_min(1e-3)) for p, q in pairs))
    (out / f"splits-{rank}.json").write_text(json.dumps(found))


class FollowTiny(FollowData):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        trainer.datamodule.next_step = batch.step + 1


def main(out: Path, words: list[str]) -> None:
    assert batch_of(0, 0).step == 0
    for word in words:
        name, _, rest = word.partition("=")
        if name == "splits":
            compare_splits(out, int(rest))
            continue
        engine, *options = rest.split(",")
        run(out, name, engine, dict(option.split("=", 1) for option in options))
    torch.distributed.destroy_process_group()
