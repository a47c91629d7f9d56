"""The launcher's decisions, with workers that are a few lines of plain Python. Real ones: tests/faults."""

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from calm.launch import LaunchPlan, launch
from calm.training.status import RunStatus, read_status, write_status

#: what the workers share: they write what a rank writes, and import nothing heavy
WORKER = """
import json, os, signal, sys, time
def status(state, step, reason=""):
    open("status.json", "w").write(json.dumps({"state": state, "step": step, "reason": reason, "time": time.time()}))
def beat(phase):
    os.makedirs("heartbeat", exist_ok=True)
    beat = {"rank": 0, "host": "here", "pid": os.getpid(), "step": 7, "phase": phase, "time": time.time()}
    open("heartbeat/part", "w").write(json.dumps(beat))
    os.replace("heartbeat/part", "heartbeat/rank-00000.json")
def step():
    return json.load(open("status.json"))["step"] if os.path.exists("status.json") else 0
"""


@dataclass(frozen=True, kw_only=True)
class Scripted(LaunchPlan):
    """A plan whose workers run a script in the run's folder."""

    script: str

    def command(self):
        return [sys.executable, "-c", f"import os; os.chdir({str(self.run_dir)!r})\n{WORKER}\n{self.script}"]


@pytest.fixture
def attempt(tmp_path):
    """Launch a script as the workers; return the outcome and the lines that were said."""

    def run(script, **options):
        # A launcher looks around ten times in a heartbeat's time-out.
        options = {"max_restarts": 0, "max_steps": 10, "heartbeat_timeout": 3.0, **options}
        lines = []
        plan = Scripted(name="toy", run_dir=tmp_path, words=(), script=script, **options)
        return launch(plan, say=lines.append), lines

    return run


def test_a_run_is_done_when_it_says_so_whatever_its_exit_code(attempt, tmp_path):
    outcome, _ = attempt("status('done', 10); sys.exit(1)")
    assert (outcome.state, outcome.step, outcome.num_restarts) == ("done", 10, 0)


def test_an_exit_code_of_zero_does_not_make_a_run_done(attempt, tmp_path):
    outcome, _ = attempt("status('running', 4)")
    assert (outcome.state, outcome.step, outcome.reason) == ("failed", 4, "the workers left before the end")
    assert read_status(tmp_path).state == "failed"


def test_a_run_that_was_done_before_with_fewer_steps_is_not_done_now(attempt, tmp_path):
    write_status(tmp_path, RunStatus(state="done", step=5))
    assert attempt("sys.exit(1)")[0].state == "failed"


def test_a_run_with_nothing_left_to_do_is_not_started(attempt, tmp_path):
    write_status(tmp_path, RunStatus(state="done", step=10))
    outcome, _ = attempt("open('started', 'w')")
    assert outcome.state == "done" and not (tmp_path / "started").exists()


def test_restarts_are_counted_from_the_last_new_checkpoint(attempt):
    script = "step = step() + 1; status('done' if step == 3 else 'running', step); sys.exit(step < 3)"
    outcome, lines = attempt(script, max_restarts=1)
    assert (outcome.state, outcome.num_restarts) == ("done", 2)
    assert [line.partition(";")[0] for line in lines] == ["a worker failed or was killed"] * 2


def test_a_run_that_never_gets_on_fails_with_its_own_reason(attempt, tmp_path):
    outcome, lines = attempt("status('failed', 4, 'DataError: no shards'); sys.exit(2)", max_restarts=1)
    assert (outcome.state, outcome.num_restarts, outcome.reason) == ("failed", 1, "DataError: no shards")
    assert lines == ["DataError: no shards; restart 1 of 1 from step 4 in 1 s"]


@pytest.mark.parametrize("halt", ["time.sleep(60)", "os.kill(os.getpid(), signal.SIGSTOP)"])
def test_a_worker_that_makes_no_progress_is_killed_with_its_group(attempt, tmp_path, halt):
    child = "import subprocess; child = subprocess.Popen(['sleep', '60']); open('child', 'w').write(str(child.pid))"
    started = time.monotonic()
    outcome, _ = attempt(f"{child}; beat('training'); {halt}", heartbeat_timeout=1.0)
    assert outcome.reason.startswith("rank 0 made no progress") and outcome.reason.endswith("'training' at step 7")
    assert time.monotonic() - started < 30
    assert not _is_running((tmp_path / "child").read_text())


def test_progress_and_ranks_that_are_through_are_left_alone(attempt):
    script = "for _ in range(6):\n    beat('training'); time.sleep(0.3)\nbeat('done'); time.sleep(1.5); status('done', 10)"
    assert attempt(script, heartbeat_timeout=1.0)[0].state == "done"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_to_the_launcher_reaches_the_workers_who_save_and_leave(attempt, number):
    script = f"""
def leave(*_):
    status('preempted', 8); sys.exit(75)
signal.signal(signal.SIGTERM, leave)
beat('training')
os.kill(os.getppid(), {int(number)})
time.sleep(60)
"""
    before = signal.getsignal(number)
    outcome, _ = attempt(script)
    assert (outcome.state, outcome.step, outcome.signal_number) == ("preempted", 8, number)
    assert signal.getsignal(number) is before


def test_a_signal_before_the_first_sign_of_life_ends_the_start_and_nothing_is_lost(attempt, tmp_path):
    write_status(tmp_path, RunStatus(state="running", step=6))
    outcome, _ = attempt(f"os.kill(os.getppid(), {int(signal.SIGTERM)}); time.sleep(60)")
    assert (outcome.state, outcome.step) == ("preempted", 6)
    assert read_status(tmp_path).state == "preempted"


def test_a_node_waits_while_rank_zero_exports_elsewhere(attempt, tmp_path):
    later = "import os, time; time.sleep(1.5); os.rename('later.json', 'status.json')"
    export = f"import subprocess; subprocess.Popen([sys.executable, '-c', {later!r}], start_new_session=True)"
    script = f"status('done', 10); os.rename('status.json', 'later.json'); status('running', 9); {export}; beat('done')"
    outcome, _ = attempt(script)
    assert (outcome.state, outcome.step) == ("done", 10)


#: what the other of two nodes would write
NOTES = """
def note(rank, **values):
    os.makedirs("launch", exist_ok=True)
    open("launch/part", "w").write(json.dumps({"time": time.time(), **values}))
    os.replace("launch/part", f"launch/node-{rank:05d}.json")
def attempt():
    return json.load(open("launch/node-00000.json"))["attempt"]
"""


@pytest.fixture
def one_cable(monkeypatch):
    """The nodes are processes of this machine: the check that they reach each other has tests of its own."""
    monkeypatch.setattr("calm.launch.loop.choose_interface", lambda host: host)


@pytest.mark.usefixtures("one_cable")
def test_the_main_node_starts_again_at_once_where_the_other_node_does(attempt):
    script = f"""{NOTES}
if os.path.exists("launch/node-00001.json"):
    status("done", 10)
else:
    note(1, attempt=attempt(), state="waiting"); time.sleep(60)
"""
    started = time.monotonic()
    outcome, lines = attempt(script, num_nodes=2, max_restarts=1)
    assert outcome.state == "done" and lines[0].startswith("node 1 starts anew; restart 1 of 1")
    assert time.monotonic() - started < 30


@pytest.mark.usefixtures("one_cable")
def test_a_node_leaves_an_attempt_that_the_main_node_has_left(attempt, tmp_path):
    begin = f"{WORKER}\n{NOTES}\nnote(0, attempt='first', state='running')"
    subprocess.run([sys.executable, "-c", begin], cwd=tmp_path, check=True)
    script = f"""{NOTES}
if attempt() == "first":
    note(0, attempt="second", state="running"); time.sleep(60)
status("done", 10)
"""
    outcome, lines = attempt(script, num_nodes=2, node_rank=1, max_restarts=1)
    assert outcome.state == "done" and lines[0].startswith("the main node starts anew")


@pytest.mark.usefixtures("one_cable")
def test_a_node_stops_where_another_was_asked_to_before_anything_trained(attempt, tmp_path):
    outcome, _ = attempt(f"{NOTES}\nnote(1, attempt='', state='leaving'); time.sleep(60)", num_nodes=2)
    assert (outcome.state, outcome.signal_number) == ("preempted", 0)
    assert read_status(tmp_path).state == "preempted"


def _is_running(pid: str) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def test_the_helper_sees_what_runs():
    assert _is_running(str(Path("/proc/self").resolve().name))
