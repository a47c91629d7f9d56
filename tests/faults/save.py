"""Kills and full disks while a checkpoint is written: ``python -m tests.faults.save --kills 200 --full-disks 100``.

Whatever happens, the folder holds a checkpoint that can be read, whole and of one piece: a file, and the folder of a
sharded run. The long form writes benchmarks/results/save.json.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import distributed

from calm.errors import CheckpointError
from calm.training.checkpoint_io import AtomicCheckpointIO, publish, read_checkpoint, remove_partials
from calm.training.sharded_checkpoint import read_sharded, write_sharded
from tests.faults.results import write_result
from tests.processes import PROCESSES

__all__ = ["FORMS", "Form", "SaveReport", "fill_disk", "kill_saves"]

#: a checkpoint of 4 MB: long enough to be hit in the middle
NUM_TENSORS, SIZE = 16, 65_536


@dataclass(kw_only=True)
class SaveReport:
    """What came of it; ``wrong`` lists what must not be."""

    kills: int = 0
    kills_in_a_write: int = 0
    file_size_limits: int = 0
    full_file_systems: int = 0
    wrong: list[str] = field(default_factory=list)


def checkpoint(version: int) -> dict:
    """A checkpoint whose every number is its version: a mixture of two would show."""
    return {"state_dict": {str(i): torch.full((SIZE,), float(version)) for i in range(NUM_TENSORS)}, "step": version}


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a checkpoint lies on the disk: what writes it under a path, and what reads it from there."""

    write: Callable[[dict, Path], None]
    read: Callable[[Path], dict]


def write_folder(checkpoint: dict, path: Path) -> None:
    """Write as a sharded run of one process does."""
    if not distributed.is_initialized():
        distributed.init_process_group("gloo", rank=0, world_size=1, store=distributed.HashStore())
    tensors = {f"model.{name}": tensor for name, tensor in checkpoint["state_dict"].items()}
    write_sharded(path, tensors=tensors, run={"state_dict": {}, "step": checkpoint["step"]}, token=uuid.uuid4().hex, first=True)


def read_folder(path: Path) -> dict:
    tensors: dict[str, torch.Tensor] = {}

    def templates(stored):
        tensors.update({name: torch.empty_like(tensor, device="cpu") for name, tensor in stored.items()})
        return tensors

    return {**read_sharded(path, templates=templates), "state_dict": tensors}


def write_file(checkpoint: dict, path: Path) -> None:
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)


FORMS = {
    "file": Form(write=write_file, read=read_checkpoint),
    "folder": Form(write=write_folder, read=read_folder),
}


def save_once(form: str, folder: Path, version: int) -> None:
    """Save in a process of its own, which alone has a process group. Raises AssertionError where it fails."""
    process = PROCESSES.Process(target=FORMS[form].write, args=(checkpoint(version), folder / "last.ckpt"))
    process.start()
    process.join()
    assert process.exitcode == 0, "the save failed"


def save_for_ever(form: str, folder: Path, version: int) -> None:
    """What a training does at every checkpoint, again and again."""
    while True:
        version += 1
        FORMS[form].write(checkpoint(version), folder / "last.ckpt")
        if form == "file":
            publish(folder / "last.ckpt", name="step-00000001.ckpt")


def save_with_limit(form: str, folder: Path, version: int, limit: int) -> None:
    """Save on a disk that takes ``limit`` bytes of a file; exit with 3 where that is said as it should be."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    _save_refused(form, folder, version)


def _save_refused(form: str, folder: Path, version: int) -> None:
    try:
        FORMS[form].write(checkpoint(version), folder / "last.ckpt")
    except CheckpointError as error:
        raise SystemExit(3 if "previous checkpoint is untouched" in str(error) else 4) from None


def kill_saves(folder: Path, *, kills: int, seed: int = 0, form: str = "file") -> SaveReport:
    """Kill a process that saves without end, at random times; look at what it left."""
    report, rng = SaveReport(), random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    save_once(form, folder, 0)
    version = 0
    for _ in range(kills):
        before = _stamp(folder)
        process = PROCESSES.Process(target=save_for_ever, args=(form, folder, version))
        process.start()
        while _stamp(folder) == before:  # it is under way
            time.sleep(0.001)
        process.join(rng.uniform(0, 0.1))
        process.kill()
        process.join()
        report.kills += 1
        report.kills_in_a_write += any(folder.glob(".*.part"))
        found = _version(form, folder, report)
        report.wrong += [f"version {found} after {version}"] * (found < version)
        version = found
        if form == "file":
            remove_partials(folder)
        else:  # the next save of the resumed run clears up
            save_once(form, folder, version)
        report.wrong += _rest(folder)
    return report


def fill_disk(folder: Path, report: SaveReport, *, times: int, seed: int = 0, form: str = "file") -> None:
    """Save where a file may not grow beyond a random size; the old checkpoint must stay, with nothing beside it."""
    rng = random.Random(seed)
    size = 4 * NUM_TENSORS * SIZE
    for _ in range(times):
        version = _version(form, folder, report)
        process = PROCESSES.Process(target=save_with_limit, args=(form, folder, version + 1, rng.randrange(size)))
        process.start()
        process.join()
        report.file_size_limits += 1
        _judge(process.exitcode, form, folder, version, report)


def fill_file_system(folder: Path, report: SaveReport, *, times: int, form: str = "file") -> None:
    """The same on a small file system that is really full. Needs root; does nothing without."""
    with contextlib.suppress(subprocess.CalledProcessError, FileNotFoundError), _small_disk(folder) as disk:
        save_once(form, disk, 0)
        for _ in range(times):
            process = PROCESSES.Process(target=_save_refused, args=(form, disk, 1))
            process.start()
            process.join()
            report.full_file_systems += 1
            _judge(process.exitcode, form, disk, 0, report)


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system with room for one checkpoint and a half."""
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={6 * NUM_TENSORS * SIZE}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _judge(code: int | None, form: str, folder: Path, version: int, report: SaveReport) -> None:
    report.wrong += [f"exit code {code}"] * (code != 3)
    report.wrong += [f"version {version} is gone"] * (_version(form, folder, report) != version)
    report.wrong += _rest(folder)


def _stamp(folder: Path) -> tuple[str, int]:
    """What changes with every save: the time of the file, or the folder to which the link leads."""
    path = folder / "last.ckpt"
    return os.fspath(path.resolve()), path.lstat().st_mtime_ns


def _rest(folder: Path) -> list[str]:
    """What lies beside the checkpoints and should not."""
    return [f"left {path.name}" for path in folder.glob(".*") if path != (folder / "last.ckpt").resolve()]


def _version(form: str, folder: Path, report: SaveReport) -> int:
    """Return the version of the last checkpoint; every checkpoint of the folder must be whole."""
    for path in folder.glob("*.ckpt"):
        found = FORMS[form].read(path)
        values = torch.cat(list(found["state_dict"].values()))
        report.wrong += [f"{path.name} is a mixture"] * (not bool((values == float(found["step"])).all()))
    return int(FORMS[form].read(folder / "last.ckpt")["step"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--full-disks", type=int, default=100)
    options = parser.parse_args()
    reports: dict[str, SaveReport] = {}
    with tempfile.TemporaryDirectory() as name:
        for form in FORMS:
            folder = Path(name) / form
            report = reports[form] = kill_saves(folder / "saves", kills=options.kills, form=form)
            fill_disk(folder / "saves", report, times=options.full_disks, form=form)
            if os.geteuid() == 0:
                fill_file_system(folder / "disk", report, times=options.full_disks, form=form)
    write_result("save", {form: asdict(report) for form, report in reports.items()})
    raise SystemExit(any(report.wrong for report in reports.values()))


if __name__ == "__main__":
    main()
