"""A tiny training for the faults: real shards, a real VAE and generator, a log of every clip that was trained on.

Runs are processes of their own, forked from the server of tests/processes.py, so that a start takes a second and
not ten.
"""

from __future__ import annotations

import ctypes
import os
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file

from calm.config import load_config
from calm.training.checkpoint_io import read_checkpoint
from calm.training.fit import fit
from calm.training.history import read_history
from tests.data.clips import make_shards
from tests.processes import PROCESSES

STEPS, KEYS = 24, "keys.txt"


def prepare(folder: Path) -> tuple[str, ...]:
    """Write shards and a VAE into ``folder``; return the words that train a generator on them."""
    shards = make_shards(folder)
    data = (f"data.train={shards}", f"data.validation={shards}")
    vae = ("trainer.max_steps=2", "trainer.val_every_steps=0", "model.loss_n_ffts=[256,128]", f"run_dir={folder / 'vae'}")
    fit(load_config(["experiment=tiny_vae", *data, *vae]), progress=False)
    often = ("trainer.save_every_steps=3", "trainer.val_every_steps=9", "trainer.log_every_steps=1", "trainer.prompts={}")
    plan = "data.source={name: planned, bucket_steps: 2}"
    return ("experiment=tiny", *data, *often, plan, f"vae_ckpt_path={folder / 'vae/export'}", f"trainer.max_steps={STEPS}")


def start(words: tuple[str, ...], run_dir: Path) -> BaseProcess:
    """Start a training in ``run_dir``, or go on with it."""
    process = PROCESSES.Process(target=_train, args=(words, run_dir))
    process.start()
    return process


def start_on(namespace: Path, words: tuple[str, ...], run_dir: Path, *, node: int, address: str) -> BaseProcess:
    """Start one of two nodes of a training on a host of its own (a network namespace), with nobody to watch it."""
    place = {"MASTER_ADDR": address, "MASTER_PORT": "29500", "NODE_RANK": str(node), "LOCAL_RANK": "0"}
    process = PROCESSES.Process(target=_train_on, args=(namespace, place, words, run_dir))
    process.start()
    return process


def _train_on(namespace: Path, place: dict[str, str], words: tuple[str, ...], run_dir: Path) -> None:
    with open(namespace) as file:
        assert ctypes.CDLL(None).setns(file.fileno(), 0) == 0, f"{namespace} cannot be entered"
    os.environ.update(place)
    torch.set_num_threads(1)
    fit(load_config([*words, f"run_dir={run_dir}", "trainer.num_nodes=2", "trainer.devices=1"]), progress=False)


def _train(words: tuple[str, ...], run_dir: Path) -> None:
    torch.set_num_threads(1)
    run_dir.mkdir(parents=True, exist_ok=True)
    config = load_config([*words, f"run_dir={run_dir}", "ckpt_path=last"])
    fit(config, progress=False, callbacks=[KeyLog(run_dir / KEYS)])


class KeyLog(Callback):
    """Appends a line for every start, and one for every batch that was trained on: its number and its clips."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._append("start")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._append(f"{batch.step} {' '.join(batch.keys)}")

    def _append(self, line: str) -> None:
        # One write each: a kill leaves a whole line or none.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)


def trained_on(run_dir: Path) -> tuple[list[str], int]:
    """Return the clips of every batch that the final weights have seen, and how many batches were run again.

    A start goes on from a checkpoint: what an earlier start had trained on after it, the weights have forgotten.
    Raises AssertionError where a start leaves a gap, or skips a batch.
    """
    seen: list[str] = []
    num_batches, is_first = 0, True
    for line in (run_dir / KEYS).read_text().splitlines():
        if line == "start":
            is_first = True
            continue
        number, _, keys = line.partition(" ")
        assert int(number) <= len(seen) if is_first else int(number) == len(seen), f"batch {number} after {len(seen)}"
        del seen[int(number) :]
        seen.append(keys)
        num_batches, is_first = num_batches + 1, False
    return seen, num_batches - len(seen)


def differences(first: Path, second: Path) -> list[str]:
    """Return what two finished runs do not have in common, bit for bit: weights, moments, states, losses, clips."""
    return state_differences(first, second) + [KEYS] * (trained_on(first)[0] != trained_on(second)[0])


def state_differences(first: Path, second: Path) -> list[str]:
    """The same for all but the clips, where no log of them was kept."""
    found = []
    ours, theirs = (read_checkpoint(run / "checkpoints/last.ckpt") for run in (first, second))
    for key in ("state_dict", "optimizer_states", "callbacks", "CalmDataModule", "global_step"):
        found += [f"{key}{path}" for path in _unequal(ours[key], theirs[key])]
    exports = [load_file(run / "export/model.safetensors") for run in (first, second)]
    found += [f"export{path}" for path in _unequal(*exports)]
    histories = (read_history(run / "history.csv") for run in (first, second))
    losses = [sorted((row[0], *row[2:]) for row in rows if not row[2].startswith("time/")) for rows in histories]
    return found + ["history.csv"] * (losses[0] != losses[1])


def _unequal(first: Any, second: Any, path: str = "") -> list[str]:
    """Return the paths below which two nested values differ."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return [] if torch.equal(first, second) else [path]
    if isinstance(first, list | tuple):
        first, second = dict(enumerate(first)), dict(enumerate(second))
    if isinstance(first, dict) and isinstance(second, dict):
        missing = [f"{path}/{key}" for key in first.keys() ^ second.keys()]
        return missing + [p for key in first.keys() & second.keys() for p in _unequal(first[key], second[key], f"{path}/{key}")]
    return [] if first == second else [path]
