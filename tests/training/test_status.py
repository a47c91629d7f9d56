"""What a run says of itself in status.json, and its signs of life."""

import json
import logging
import os
import signal

import pytest
from lightning.pytorch.callbacks import Callback

from calm.errors import ConfigError
from calm.training.beats import DONE, beat_path, read_beats
from calm.training.checkpoint_io import read_checkpoint
from calm.training.fit import train
from calm.training.heartbeat import Heartbeats
from calm.training.interruption import Interrupted
from calm.training.status import read_status
from tests.training.toy import FollowData, ToyData, toy_config, toy_root


class At(Callback):
    """Does something real while the batch of a step is trained on."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_before_backward(self, trainer, pl_module, loss):
        if trainer.global_step == self.step:
            self.action()


def run(folder, *callbacks, **options):
    config = toy_config(folder, **options)
    return train(toy_root(), ToyData(), config=config, progress=False, callbacks=[FollowData(), *callbacks])


def test_a_run_is_done_once_it_is_exported(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("calm.training.fit.save_pretrained", lambda *a, **k: seen.append(read_status(tmp_path).state))
    run(tmp_path, max_steps=3)
    assert seen == ["running"]
    status = read_status(tmp_path)
    assert (status.state, status.step) == ("done", 3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signalled_run_is_preempted_at_the_step_that_is_saved(tmp_path, number):
    with pytest.raises(Interrupted) as caught:
        run(tmp_path, At(2, lambda: os.kill(os.getpid(), number)))
    status = read_status(tmp_path)
    assert (status.state, status.step, caught.value.signal_number) == ("preempted", 3, number)
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 3


def test_a_failed_run_says_why_and_from_which_step_it_can_go_on(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, At(5, lambda: 1 // 0), save_every_steps=2)
    status = read_status(tmp_path)
    assert (status.state, status.step) == ("failed", 4)
    assert status.reason == "ZeroDivisionError: integer division or modulo by zero"
    run(tmp_path, ckpt_path="last", save_every_steps=2)
    assert read_status(tmp_path).state == "done"


def test_a_run_that_is_refused_leaves_the_status_of_the_other_alone(tmp_path):
    run(tmp_path, max_steps=2)
    before = read_status(tmp_path)
    with pytest.raises(ConfigError):
        run(tmp_path, max_steps=2)
    assert read_status(tmp_path) == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "done"}'])
def test_a_status_that_cannot_be_read_says_nothing(tmp_path, text):
    (tmp_path / "status.json").write_text(text)
    assert read_status(tmp_path) is None


class Recorded(Heartbeats):
    def __init__(self, run_dir, *, every_seconds):
        super().__init__(run_dir, every_seconds=every_seconds)
        self.beats = []

    def beat(self, phase, *, step=0):
        super().beat(phase, step=step)
        self.beats.append((phase, step))


@pytest.mark.parametrize(("every_seconds", "batches"), [(1e-9, [1, 2, 3]), (1e9, [])])
def test_a_rank_beats_with_its_phases_and_not_too_often_between(tmp_path, monkeypatch, every_seconds, batches):
    made = []
    monkeypatch.setattr("calm.training.fit.Heartbeats", lambda *a, **k: made.append(Recorded(*a, **k)) or made[0])
    run(tmp_path, max_steps=3, heartbeat_seconds=every_seconds)
    start, end = [("preparing", 0), ("training", 0)], [("saving", 3), ("exporting", 3), (DONE, 3)]
    assert made[0].beats == [*start, *[("training", step) for step in batches], *end]
    beat = read_beats(tmp_path, [0, 1])[0]
    assert (beat.pid, beat.step, beat.phase) == (os.getpid(), 3, DONE)


def test_a_disk_that_takes_no_heartbeat_does_not_stop_the_training(tmp_path, caplog):
    (tmp_path / "heartbeat").write_text("a file where the folder should be")
    beats = Heartbeats(tmp_path, every_seconds=1)
    with caplog.at_level(logging.WARNING, logger="calm.training.heartbeat"):
        beats.beat("training")
        beats.beat("training")
    assert read_beats(tmp_path, [0]) == {} and len(caplog.records) == 1


def test_half_a_heartbeat_is_none(tmp_path):
    Heartbeats(tmp_path, every_seconds=1).beat("training", step=4)
    path = tmp_path / "heartbeat" / "rank-00000.json"
    assert json.loads(path.read_text())["step"] == 4
    path.write_text(path.read_text()[:20])
    assert read_beats(tmp_path, [0]) == {}


@pytest.mark.parametrize("text", ['{"state": 5, "step": 1}', '{"state": "done", "step": "1"}', "[" * 100_000, "5"])
def test_a_status_that_is_none_counts_as_not_written(tmp_path, text):
    (tmp_path / "status.json").write_text(text)
    assert read_status(tmp_path) is None


def test_a_beat_of_other_types_counts_as_no_beat(tmp_path):
    path = beat_path(tmp_path, 0)
    path.parent.mkdir()
    path.write_text('{"rank": 0, "host": "a", "pid": 1, "step": 2.5, "phase": "training", "time": 1.5}')
    assert read_beats(tmp_path, [0]) == {}
    path.write_text(path.read_text().replace("2.5", "2"))
    assert read_beats(tmp_path, [0])[0].step == 2
