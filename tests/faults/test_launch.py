"""`calm launch` with real workers: one is killed, the next is stopped, the third ends the run; then a preemption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from calm.training.heartbeat import Beat, read_beats
from calm.training.status import read_status
from tests.faults.tiny import prepare

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("launch")


@pytest.fixture(scope="module")
def words(folder):
    return prepare(folder)


class Launch:
    """A launcher in a process of its own, and what its one worker says of itself."""

    def __init__(self, run_dir: Path, *words: str) -> None:
        self.run_dir = run_dir
        options = ("--nproc", "1", "--max-restarts", "5", "--heartbeat-timeout", "20", "trainer.heartbeat_seconds=0.1")
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


def test_a_killed_and_a_stopped_worker_are_restarted_and_the_run_ends_done(folder, words):
    launch = Launch(folder / "restarted", *words, "trainer.max_steps=100", "trainer.val_every_steps=0")
    first = launch.wait_for_training(step=4)
    os.kill(first.pid, signal.SIGKILL)
    second = launch.wait_for_training(after=first, step=8)
    os.kill(second.pid, signal.SIGSTOP)
    third = launch.wait_for_training(after=second, step=8)
    code, said = launch.end()
    assert code == 0 and "done at step 100 after" in said, said
    # Two restarts; on a machine that hardly gives it a second, a slow worker may be taken for a stopped one as well.
    assert "a worker failed or was killed; restart 1 of 5" in said and "made no progress" in said
    assert said.count("; restart ") >= 2
    assert read_status(folder / "restarted").state == "done"
    assert not any(Path(f"/proc/{beat.pid}").exists() for beat in (first, second, third))


def test_a_preempted_launch_saves_exits_with_75_and_goes_on_when_it_is_run_again(folder, words):
    run_dir = folder / "preempted"
    launch = Launch(run_dir, *words, "trainer.max_steps=100000", "trainer.val_every_steps=0")
    launch.wait_for_training(step=2)
    launch.process.send_signal(signal.SIGUSR1)
    code, said = launch.end()
    status = read_status(run_dir)
    assert code == 75 and f"preempted at step {status.step}" in said, said
    assert status.state == "preempted" and status.step >= 2
    again = Launch(run_dir, *words, f"trainer.max_steps={status.step + 2}", "trainer.val_every_steps=0")
    code, said = again.end()
    assert code == 0 and f"done at step {status.step + 2} after 0 restarts" in said, said
