"""Writing a sharded checkpoint: where the first process cannot, every process is told, and the former one stays."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from calm.errors import CheckpointError
from calm.training import sharded_checkpoint
from calm.training.sharded_checkpoint import read_sharded, write_sharded
from tests.processes import free_port, run_all, start


def fill(templates):
    fill.tensors = {name: torch.zeros(tensor.shape) for name, tensor in templates.items()}
    return fill.tensors


def fail(*args, **options):
    raise OSError("No space left on device")


def write_well_then_not(out: Path, rank: str) -> None:
    """The target: one whole checkpoint, then one that fails at its beginning and one at its end."""
    torch.distributed.init_process_group("gloo", rank=int(rank), world_size=2)
    first, path = rank == "0", out / "last.ckpt"

    def write(value: float, token: str) -> None:
        write_sharded(path, tensors={"x": torch.full((3,), value)}, run={"state_dict": {}, "step": value}, token=token, first=first)

    write(1.0, "one")
    for token, name in (("two", "_begin"), ("three", "_point")):
        whole = getattr(sharded_checkpoint, name)
        if first:
            setattr(sharded_checkpoint, name, fail)
        try:
            write(2.0, token)
        except CheckpointError as error:
            assert "No space left" in str(error), error
        else:
            raise AssertionError(f"rank {rank} took {token} for written")
        finally:
            setattr(sharded_checkpoint, name, whole)
    assert read_sharded(path, templates=fill)["step"] == 1.0
    assert fill.tensors["x"].tolist() == [1.0, 1.0, 1.0]
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_a_failure_of_the_first_process_is_that_of_all_and_leaves_nothing(tmp_path):
    out = tmp_path / "checkpoints"
    out.mkdir()
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    logs = [tmp_path / f"log-{rank}.txt" for rank in range(2)]
    workers = [
        start(write_well_then_not, out, str(rank), folder=tmp_path, log=log, environ=shared) for rank, log in enumerate(logs)
    ]
    run_all(workers, logs, seconds=120)
    assert sorted(os.listdir(out)) == [".last.ckpt.one", "last.ckpt"]
