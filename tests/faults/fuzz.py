"""Mutated files through the public readers: ``python -m tests.faults.fuzz --inputs 10000`` writes
benchmarks/results/fuzz.json, and each input that shows a fault to benchmarks/results/fuzz/.

Every target has a process of its own, which is watched: only errors of `calm.errors` may come out, within a deadline,
with little memory, and the process must live. Input N of a target is a pure function of (seed, target, N).
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from calm.errors import CalmError
from tests.faults.readers import FAULTY, TARGETS, mutant_of
from tests.faults.results import RESULTS, write_result
from tests.processes import PROCESSES

__all__ = ["Fault", "FuzzReport", "fuzz"]

#: an input that takes longer is a hang; generous, because the machine may be shared
DEADLINE_SECONDS = 60.0
MAX_RESIDENT_MIB = 1024
#: what a process may ask for beyond what it has: an allocation of any size then fails instead of filling the machine
MAX_GROWTH = 4 << 30
#: after so many faults of one target it is left alone
MAX_FAULTS = 20


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that must not be: the input's number, and what came of it."""

    target: str
    number: int
    what: str


@dataclass(kw_only=True)
class FuzzReport:
    """What came of one target's inputs: refused with an error of ours, read, or a fault."""

    inputs: int = 0
    refused: int = 0
    read: int = 0
    resident_mib: int = 0
    seconds: float = 0.0
    faults: list[Fault] = field(default_factory=list)


def fuzz(
    folder: Path,
    *,
    inputs: int,
    seed: int = 0,
    targets: Sequence[str] = tuple(TARGETS),
    failures: Path | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> dict[str, FuzzReport]:
    """Send ``inputs`` mutants through each of ``targets``; ``failures`` gets the inputs that show a fault."""
    reports = {}
    for name in targets:
        reports[name] = report = FuzzReport()
        began = time.monotonic()
        while report.inputs < inputs and len(report.faults) < MAX_FAULTS:
            home = folder / f"{name}-{report.inputs}"
            home.mkdir(parents=True)
            _watch(name, home, seed, inputs, report, deadline_seconds)
        report.seconds = round(time.monotonic() - began, 1)
        if failures is not None:
            _write_failures(report, folder / f"{name}-again", failures, seed)
    return reports


def _watch(name: str, home: Path, seed: int, inputs: int, report: FuzzReport, deadline: float) -> None:
    """Run one process from the first input that is left, until it is done, dies, or must be killed."""
    theirs, ours = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_run, args=(name, home, seed, report.inputs, inputs, theirs))
    process.start()
    theirs.close()
    fault = None
    try:
        while ours.poll(deadline):
            outcome, resident, what = ours.recv()
            if outcome == "start":
                continue
            report.inputs += 1
            report.refused += outcome == "refused"
            report.read += outcome == "read"
            report.resident_mib = max(report.resident_mib, resident)
            if outcome == "fault":
                report.faults.append(Fault(target=name, number=report.inputs - 1, what=what))
        fault = f"no answer within {deadline:g} s"
    except EOFError:
        process.join()
        fault = f"the process died: exit code {process.exitcode}" if process.exitcode else None
    finally:
        process.kill()
        process.join()
        ours.close()
    if fault is not None:
        report.faults.append(Fault(target=name, number=report.inputs, what=fault))
        report.inputs += 1


def _run(name: str, home: Path, seed: int, first: int, inputs: int, answers: Any) -> None:
    """What a process does: answer ("read" | "refused" | "fault", MiB resident, what) for every input."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    target = (TARGETS | FAULTY)[name](home)
    good = target.file.read_bytes()
    target.read()  # an error here is one of the test's own
    answers.send(("start", 0, ""))
    limit = _size("VmSize") + MAX_GROWTH
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = _size("VmHWM")
    for number in range(first, inputs):
        target.file.write_bytes(mutant_of(target, good, _random(seed, name, number)))
        outcome, what = "read", ""
        try:
            target.read()
        except CalmError:
            outcome = "refused"
        except Exception as error:
            outcome, what = "fault", f"{type(error).__name__}: {str(error)[:300]}"
        resident = _size("VmHWM")
        if resident > max(before, MAX_RESIDENT_MIB << 20):
            answers.send(("fault", resident >> 20, f"{resident >> 20} MiB of resident memory"))
            return  # the next input's memory could not be told from this one's
        answers.send((outcome, resident >> 20, what))


def _size(name: str) -> int:
    """Return a size of this process in bytes, by its name in Linux's /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def _random(seed: int, name: str, number: int) -> random.Random:
    return random.Random(f"{seed}/{name}/{number}")


def _write_failures(report: FuzzReport, home: Path, failures: Path, seed: int) -> None:
    for fault in report.faults:
        if not home.exists():
            home.mkdir(parents=True)
            target = (TARGETS | FAULTY)[fault.target](home)
            good = target.file.read_bytes()
        failures.mkdir(parents=True, exist_ok=True)
        data = mutant_of(target, good, _random(seed, fault.target, fault.number))
        (failures / f"{fault.target}-{seed}-{fault.number}{target.file.suffix}").write_bytes(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reports = fuzz(
            Path(folder), inputs=options.inputs, seed=options.seed, targets=options.targets, failures=RESULTS / "fuzz"
        )
    write_result("fuzz", {name: asdict(report) for name, report in reports.items()})
    raise SystemExit(any(report.faults for report in reports.values()))


if __name__ == "__main__":
    main()
