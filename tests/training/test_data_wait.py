"""How long a run waits for its data."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from torch.utils.data import IterableDataset

from calm.data.loader import build_loader
from calm.training import data_wait
from calm.training.data_wait import DATA_WAIT, DataWait


class Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("calm.data.loader.time", clock)
    monkeypatch.setattr(data_wait, "time", clock)
    return clock


class Slow(IterableDataset):
    """Batches that take three seconds each."""

    def __init__(self, clock):
        self.clock = clock

    def __iter__(self):
        for number in range(4):
            self.clock.now += 3.0
            yield number


def test_a_loader_counts_what_is_waited_for_and_not_what_is_done_meanwhile(clock):
    loader = build_loader(Slow(clock), num_workers=0)
    for _ in loader:
        clock.now += 100.0
    assert loader.waited_seconds == pytest.approx(12.0)


def test_the_share_of_the_wait_is_logged_without_the_first_batch(clock, monkeypatch):
    loader, logged = build_loader(Slow(clock), num_workers=0), []
    trainer = SimpleNamespace(train_dataloader=loader, log_every_n_steps=3)
    module = SimpleNamespace(log=lambda name, value: logged.append((name, value)))
    monkeypatch.setattr(data_wait, "window_ends", lambda trainer: True)
    callback = DataWait()
    for number, batch in enumerate(loader, start=1):
        callback.on_train_batch_start(trainer, module, batch, number - 1)
        clock.now += 1.0
        monkeypatch.setattr(data_wait, "step_of", lambda trainer, step=number: step)
        callback.on_train_batch_end(trainer, module, None, batch, number - 1)
    # Steps of one second and, from the second on, batches of three: 6 of 9 seconds.
    assert logged == [(DATA_WAIT, pytest.approx(6 / 9))]
