"""Kills and full disks while a checkpoint is written: ``python -m tests.faults.save --kills 100 --full-disks 100``.

Whatever happens, the folder holds a checkpoint that can be read, whole and of one piece. The long form writes
benchmarks/results/save.json.
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
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from calm.errors import CheckpointError
from calm.training.checkpoint_io import AtomicCheckpointIO, publish, read_checkpoint, remove_partials
from tests.faults.results import write_result
from tests.faults.tiny import PROCESSES

__all__ = ["SaveReport", "fill_disk", "kill_saves"]

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


def save_for_ever(folder: Path, version: int) -> None:
    """What a training does at every checkpoint, again and again."""
    while True:
        version += 1
        AtomicCheckpointIO().save_checkpoint(checkpoint(version), folder / "last.ckpt")
        publish(folder / "last.ckpt", name="step-00000001.ckpt")


def save_with_limit(folder: Path, version: int, limit: int) -> None:
    """Save on a disk that takes ``limit`` bytes of a file; exit with 3 where that is said as it should be."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    _save_refused(folder, version)


def _save_refused(folder: Path, version: int) -> None:
    try:
        AtomicCheckpointIO().save_checkpoint(checkpoint(version), folder / "last.ckpt")
    except CheckpointError as error:
        raise SystemExit(3 if "previous checkpoint is untouched" in str(error) else 4) from None


def kill_saves(folder: Path, *, kills: int, seed: int = 0) -> SaveReport:
    """Kill a process that saves without end, at random times; look at what it left."""
    report, rng = SaveReport(), random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    AtomicCheckpointIO().save_checkpoint(checkpoint(0), folder / "last.ckpt")
    version = 0
    for _ in range(kills):
        before = (folder / "last.ckpt").stat().st_mtime_ns
        process = PROCESSES.Process(target=save_for_ever, args=(folder, version))
        process.start()
        while (folder / "last.ckpt").stat().st_mtime_ns == before:  # it is under way
            time.sleep(0.001)
        process.join(rng.uniform(0, 0.1))
        process.kill()
        process.join()
        report.kills += 1
        report.kills_in_a_write += any(folder.glob(".*.part"))
        found = _version(folder, report)
        report.wrong += [f"version {found} after {version}"] * (found < version)
        version = found
        remove_partials(folder)
        report.wrong += [f"left {path.name}" for path in folder.glob(".*")]
    return report


def fill_disk(folder: Path, report: SaveReport, *, times: int, seed: int = 0) -> None:
    """Save where a file may not grow beyond a random size; the old checkpoint must stay, with nothing beside it."""
    rng = random.Random(seed)
    size = 4 * NUM_TENSORS * SIZE
    for _ in range(times):
        version = _version(folder, report)
        process = PROCESSES.Process(target=save_with_limit, args=(folder, version + 1, rng.randrange(size)))
        process.start()
        process.join()
        report.file_size_limits += 1
        _judge(process.exitcode, folder, version, report)


def fill_file_system(folder: Path, report: SaveReport, *, times: int) -> None:
    """The same on a small file system that is really full. Needs root; does nothing without."""
    with contextlib.suppress(subprocess.CalledProcessError, FileNotFoundError), _small_disk(folder) as disk:
        AtomicCheckpointIO().save_checkpoint(checkpoint(0), disk / "last.ckpt")
        for _ in range(times):
            process = PROCESSES.Process(target=_save_refused, args=(disk, 1))
            process.start()
            process.join()
            report.full_file_systems += 1
            _judge(process.exitcode, disk, 0, report)


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


def _judge(code: int | None, folder: Path, version: int, report: SaveReport) -> None:
    report.wrong += [f"exit code {code}"] * (code != 3)
    report.wrong += [f"version {version} is gone"] * (_version(folder, report) != version)
    report.wrong += [f"left {path.name}" for path in folder.glob(".*")]


def _version(folder: Path, report: SaveReport) -> int:
    """Return the version of the last checkpoint; every checkpoint of the folder must be whole."""
    for path in folder.glob("*.ckpt"):
        found = read_checkpoint(path)
        values = torch.cat(list(found["state_dict"].values()))
        report.wrong += [f"{path.name} is a mixture"] * (not bool((values == float(found["step"])).all()))
    return int(read_checkpoint(folder / "last.ckpt")["step"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--full-disks", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = kill_saves(folder / "saves", kills=options.kills)
        fill_disk(folder / "saves", report, times=options.full_disks)
        if os.geteuid() == 0:
            fill_file_system(folder / "disk", report, times=options.full_disks)
    write_result("save", asdict(report))
    raise SystemExit(bool(report.wrong))


if __name__ == "__main__":
    main()
