"""`calm launch` with real workers: a preemption; then one is killed, the next is stopped, the third ends the run.

One story for both tests: a start imports for seconds, and the story has four of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from calm.training.beats import Beat, read_beats
from calm.training.status import read_status
from tests.faults.tiny import prepare

ROOT = Path(__file__).parents[2]


class Launch:
    """A launcher in a process of its own, and what its one worker says of itself."""

    def __init__(self, run_dir: Path, *words: str) -> None:
        self.run_dir = run_dir
        options = ("--nproc", "1", "--max-restarts", "5", "--heartbeat-timeout", "15", "trainer.heartbeat_seconds=0.1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "calm", "launch", *options, *words, f"run_dir={run_dir}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def wait_for_training(self, *, after: Beat | None = None, step: int = 1) -> Beat:
        """Return the beat of a worker that is another one than ``after`` and trains at ``step`` or beyond."""
        while self.process.poll() is None:
            beat = read_beats(self.run_dir, [0]).get(0)
            if beat and beat.phase == "training" and beat.step >= step and (after is None or beat.pid != after.pid):
                return beat
            time.sleep(0.02)
        raise AssertionError(f"the launch ended by itself: {self.process.communicate()[0]}")

    def end(self) -> tuple[int, str]:
        said, _ = self.process.communicate(timeout=300)
        return self.process.returncode, said


@pytest.fixture(scope="module")
def preempted(tmp_path_factory):
    """A launch that was asked to stop: its words, its folder, the status it left, its exit code and what it said."""
    folder = tmp_path_factory.mktemp("launch")
    words, run_dir = (*prepare(folder), "trainer.val_every_steps=0"), folder / "run"
    launch = Launch(run_dir, *words, "trainer.max_steps=100000")
    launch.wait_for_training(step=2)
    launch.process.send_signal(signal.SIGUSR1)
    code, said = launch.end()
    return words, run_dir, read_status(run_dir), code, said


def test_a_preempted_launch_saves_and_exits_with_75(preempted):
    _, _, status, code, said = preempted
    assert code == 75 and f"preempted at step {status.step}" in said, said
    assert status.state == "preempted" and status.step >= 2


def test_run_again_it_goes_on_restarts_a_killed_and_a_stopped_worker_and_ends_done(preempted):
    words, run_dir, status, _, _ = preempted
    steps = status.step + 60
    launch = Launch(run_dir, *words, f"trainer.max_steps={steps}")
    first = launch.wait_for_training(step=1)
    assert first.step >= status.step, "it began anew"
    os.kill(first.pid, signal.SIGKILL)
    second = launch.wait_for_training(after=first, step=status.step + 8)
    os.kill(second.pid, signal.SIGSTOP)
    third = launch.wait_for_training(after=second, step=status.step + 8)
    code, said = launch.end()
    assert code == 0 and f"done at step {steps} after" in said, said
    # Two restarts; on a machine that hardly gives it a second, a slow worker may be taken for a stopped one as well.
    assert "a worker failed or was killed; restart 1 of 5" in said and "made no progress" in said
    assert said.count("; restart ") >= 2
    assert read_status(run_dir).state == "done"
    assert not any(Path(f"/proc/{beat.pid}").exists() for beat in (first, second, third))
