"""Faults on two hosts: ``python -m tests.faults.hosts --rounds 5`` writes benchmarks/results/hosts.json.

The hosts are network namespaces with a cable between them (root, Linux, iproute2): what leaves one reaches
the other by that cable alone. `calm launch` trains on both. Each round is one training that meets every kind
of fault once, in random order; its end is compared with that of a training without launcher and faults.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from calm.training.status import read_status
from tests.faults.launches import Launches, Wrong
from tests.faults.namespaces import Hosts
from tests.faults.results import write_result
from tests.faults.tiny import prepare, start_on, state_differences

__all__ = ["FAULTS", "HostReport", "Reference", "survive"]

#: optimizer steps between two faults, so that each hits a training that goes on; checkpoints come more often
GAP = 8
#: steps that a training may go on for until a SIGTERM has come from its launcher to its workers, within a second
NOTICE = 60
#: seconds after which a training that does not get on is called a hang
PATIENCE = 600.0


@dataclass(kw_only=True)
class HostReport:
    """What came of it: per kind, the seconds from the fault until both ranks train ``GAP`` steps further on."""

    steps: int = 0
    heartbeat_timeout: float = 0.0
    trainings: int = 0
    restarts: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def num_faults(self) -> int:
        return sum(len(seconds) for seconds in self.seconds.values())


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The training that nothing happens to: one process on each host, without a launcher."""

    words: tuple[str, ...]
    run_dir: Path
    steps: int

    @classmethod
    def train(cls, folder: Path, *, kinds: Sequence[str]) -> Reference:
        """Train it on hosts of its own, long enough for these faults. Raises AssertionError where that fails."""
        steps = GAP * (len(kinds) + 3) + NOTICE * sum(kind.startswith("SIGTERM") for kind in kinds)
        often = ("trainer.save_every_steps=4", "trainer.val_every_steps=10", f"trainer.max_steps={steps}")
        words, run_dir = (*prepare(folder), *often), folder / "straight"
        with Hosts() as hosts:
            processes = [
                start_on(hosts.namespace(node), words, run_dir, node=node, address=hosts.address(0)) for node in (0, 1)
            ]
            for process in processes:
                process.join(PATIENCE)
            assert [process.exitcode for process in processes] == [0, 0], "the training without faults failed"
        return cls(words=words, run_dir=run_dir, steps=steps)


def kill_worker(launches: Launches, rng: random.Random) -> None:
    os.kill(launches.pid(rng.randrange(2)), signal.SIGKILL)


def stop_worker(launches: Launches, rng: random.Random) -> None:
    os.kill(launches.pid(rng.randrange(2)), signal.SIGSTOP)


def kill_node(launches: Launches, rng: random.Random) -> None:
    launches.hosts.kill_all(1)
    launches.start(1)  # as its scheduler would


def kill_main_node(launches: Launches, rng: random.Random) -> None:
    launches.hosts.kill_all(0)
    launches.start(0)


def cut_link(launches: Launches, rng: random.Random) -> None:
    """Cut the cable: for so short that nobody need notice, or for longer than a silence may last."""
    seconds = rng.choice((2.0, 1.25 * launches.heartbeat_timeout))
    launches.hosts.set_link(is_up=False)
    time.sleep(seconds)
    launches.hosts.set_link(is_up=True)


def preempt_one(launches: Launches, rng: random.Random) -> None:
    _preempt(launches, [rng.randrange(2)])


def preempt_all(launches: Launches, rng: random.Random) -> None:
    _preempt(launches, [0, 1])


def _preempt(launches: Launches, nodes: Sequence[int]) -> None:
    """Send SIGTERM to some launchers: both must save and leave with 75, and go on when they are run again."""
    for node in nodes:
        launches.processes[node].send_signal(signal.SIGTERM)
    codes, status = launches.wait_for_exit(), read_status(launches.run_dir)
    if codes != [75, 75] or status is None or status.state != "preempted":
        raise Wrong(f"SIGTERM to {len(nodes)} ended with {codes} and {status}")
    for node in (0, 1):
        launches.start(node)


FAULTS = {
    "kill -9 of a worker": kill_worker,
    "kill -9 of a node": kill_node,
    "kill -9 of the main node": kill_main_node,
    "SIGSTOP of a worker": stop_worker,
    "link cut": cut_link,
    "SIGTERM to one node": preempt_one,
    "SIGTERM to all nodes": preempt_all,
}


def survive(reference: Reference, run_dir: Path, kinds: Sequence[str], report: HostReport, *, seed: int = 0) -> None:
    """Train on two hosts while the faults ``kinds`` happen one after the other, and compare the end.

    Args:
        report: what is found is added to it; ``report.heartbeat_timeout`` is the launchers'.
    """
    rng, kind = random.Random(seed), "the start"
    with Hosts() as hosts:
        launches = Launches(hosts, reference.words, run_dir, report.heartbeat_timeout, reference.steps, PATIENCE)
        try:
            for node in (0, 1):
                launches.start(node)
            launches.wait_for_step(GAP)
            for kind in kinds:
                began, before = time.monotonic(), launches.step()
                FAULTS[kind](launches, rng)
                launches.wait_for_step(max(before, launches.step()) + GAP)
                report.seconds.setdefault(kind, []).append(round(time.monotonic() - began, 1))
            kind = "the end"
            codes, status = launches.wait_for_exit(), read_status(run_dir)
            if codes != [0, 0] or status is None or (status.state, status.step) != ("done", reference.steps):
                raise Wrong(f"ended with {codes} and {status}")
            report.wrong += [
                f"{run_dir.name}: {what} differs" for what in state_differences(reference.run_dir, run_dir)
            ]
            report.wrong += [f"{run_dir.name}: left process {pid}" for node in (0, 1) for pid in hosts.pids(node)]
        except Wrong as error:
            report.wrong.append(f"{run_dir.name}: {kind}: {error}\n{launches.said()}")
        report.trainings += 1
        report.restarts += launches.said().count("; restart ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--heartbeat-timeout", type=float, default=20.0)
    parser.add_argument("--kinds", nargs="+", choices=list(FAULTS), default=list(FAULTS), help="of faults; by default all")
    parser.add_argument("--name", default="hosts", help="of the result file")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = Reference.train(folder, kinds=options.kinds)
        report = HostReport(steps=reference.steps, heartbeat_timeout=options.heartbeat_timeout)
        for number in range(options.rounds):
            kinds = rng.sample(options.kinds, k=len(options.kinds))
            survive(reference, folder / f"round-{number}", kinds, report, seed=rng.getrandbits(32))
            write_result(options.name, asdict(report))  # after each, so that an end before the last loses nothing
    raise SystemExit(bool(report.wrong))


if __name__ == "__main__":
    main()
