"""`calm launch` on two hosts, watched from outside: where it stands, and what must never be."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from calm.training.beats import Beat, read_beats
from calm.training.status import read_status
from tests.faults.namespaces import Hosts

__all__ = ["Launches", "Wrong"]

ROOT = Path(__file__).parents[2]


class Wrong(Exception):
    """The launch did what it must not."""


class Launches:
    """One launcher with one worker on each host, on one run folder.

    Args:
        words: of the training.
        steps: its last step; a "done" before it is wrong.
        patience: seconds without an end, or without a step, after which the launch hangs.
    """

    def __init__(
        self, hosts: Hosts, words: Sequence[str], run_dir: Path, heartbeat_timeout: float, steps: int, patience: float
    ) -> None:
        self.hosts, self.words, self.run_dir = hosts, words, run_dir
        self.heartbeat_timeout, self.steps, self.patience = heartbeat_timeout, steps, patience
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        run_dir.mkdir(parents=True)

    def start(self, node: int) -> None:
        """Start a node's launcher, for the first time or again."""
        if node in self.processes:
            self.processes[node].wait(timeout=self.patience)
        options = ("--nnodes", "2", "--node-rank", str(node), "--master-addr", self.hosts.address(0), "--nproc", "1")
        seconds = ("--heartbeat-timeout", f"{self.heartbeat_timeout:g}", "trainer.heartbeat_seconds=0.1")
        launch = (sys.executable, "-m", "calm", "launch", *options, *seconds, *self.words, f"run_dir={self.run_dir}")
        hidden = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")  # the project has to find the interface
        environ = {name: value for name, value in os.environ.items() if name not in hidden}
        with open(self._log(node), "ab") as log:
            self.processes[node] = subprocess.Popen(
                self.hosts.command(node, *launch),
                stdout=log, stderr=log, cwd=ROOT, env={**environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip

    def pid(self, rank: int) -> int:
        """Return the process of a rank's worker."""
        return self._beats()[rank].pid

    def step(self) -> int:
        """Return the last step of which a rank has spoken."""
        return max((beat.step for beat in self._beats().values()), default=0)

    def wait_for_step(self, step: int) -> None:
        """Wait until both ranks train at ``step`` or beyond: neither gets there without the other."""

        def both_train() -> bool:
            for node, process in self.processes.items():
                if process.poll() is not None:
                    raise Wrong(f"node {node} left with {process.returncode} before step {step}")
            beats = self._beats()
            return len(beats) == 2 and all(b.phase == "training" and b.step >= step for b in beats.values())

        self._wait(both_train, f"step {step}")

    def wait_for_exit(self) -> list[int]:
        """Wait until both launchers have ended; return their exit codes."""
        self._wait(lambda: all(process.poll() is not None for process in self.processes.values()), "the end")
        return [self.processes[node].returncode for node in (0, 1)]

    def said(self) -> str:
        """Return all that the launchers and their workers wrote, node by node."""
        return "\n".join(f"node {node}:\n{self._log(node).read_text(errors='replace')}" for node in sorted(self.processes))

    def _wait(self, is_met: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.patience
        while not is_met():
            status = read_status(self.run_dir)
            if status is not None and status.state == "done" and not self._is_done(status.step):
                raise Wrong(f"a wrong 'done' at step {status.step}")
            if time.monotonic() > deadline:
                raise Wrong(f"a hang: {what} was not reached within {self.patience:.0f} s")
            time.sleep(0.02)

    def _is_done(self, step: int) -> bool:
        return step == self.steps and (self.run_dir / "export" / "model.safetensors").is_file()

    def _beats(self) -> dict[int, Beat]:
        return read_beats(self.run_dir, [0, 1])

    def _log(self, node: int) -> Path:
        return self.run_dir.parent / f"{self.run_dir.name}-node-{node}.log"
