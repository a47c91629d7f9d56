"""Real processes: two listeners rate while the server is killed with SIGKILL and started again; signals end it well."""

from __future__ import annotations

import http.client
import os
import random
import signal
import sqlite3
import threading
from pathlib import Path

from calm.listening import summarise
from calm.types import Task
from tests.listening.lab import Listener, make_test, serve_folder
from tests.processes import PROCESSES, calm, start

#: what a listener meets while there is no server
DOWN = (OSError, http.client.HTTPException, AssertionError)
ROUNDS = 5


class ServerProcess:
    """A server in a process of its own, on a free port."""

    def __init__(self, folder: Path) -> None:
        ours, theirs = PROCESSES.Pipe()
        self.process = PROCESSES.Process(target=serve_folder, args=(folder, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.address = ours.recv()

    def end(self, number: int) -> int:
        os.kill(self.process.pid, number)
        self.process.join(30)
        return self.process.exitcode


class Rater(threading.Thread):
    """Rates until the server is gone. ``confirmed``: scores that it said are saved; ``sent``: the last that it was sent."""

    def __init__(self, listener: Listener, seed: int) -> None:
        super().__init__()
        self.listener, self.rng = listener, random.Random(seed)
        self.confirmed: dict[tuple[str, str], int] = {}
        self.sent: dict[tuple[str, str], int] = {}
        self.done = False
        self.enough = threading.Event()

    def run(self) -> None:
        try:
            current = self.listener.current()
            while not current["done"]:
                for question in current["questions"]:
                    key = current["trial"], question["key"]
                    self.sent[key] = score = self.rng.randint(1, 5)
                    assert self.listener.rate(*key, score).status == 200
                    self.confirmed[key] = score
                    if len(self.confirmed) == 5:
                        self.enough.set()
                current = self.listener.move_on(current["trial"]).json
            self.done = True
        except DOWN:
            pass
        self.enough.set()


class Known:
    """What all raters know of what must be stored."""

    def __init__(self) -> None:
        self.confirmed: dict[tuple[str, str], int] = {}
        self.sent: dict[tuple[str, str], int] = {}

    def learn(self, rater: Rater) -> None:
        self.confirmed.update(rater.confirmed)
        self.sent.update(rater.sent)

    def wrong(self, database: Path) -> list[tuple[str, str]]:
        """Confirmed scores that are not there. One sent after it, whose reply was lost, may have replaced it."""
        stored = {(trial, question): score for trial, question, score in _stored(database)}
        return [key for key, score in self.confirmed.items() if stored.get(key) not in (score, self.sent[key])]


def test_two_listeners_and_kills_lose_nothing_and_double_nothing(tmp_path):
    test = make_test(tmp_path, tasks={Task.SOUND: 12}, items_per_listener=30)
    server, known = ServerProcess(test.folder), Known()
    listeners = [Listener(server.address) for _ in range(2)]
    for number in range(ROUNDS):
        raters = [Rater(listener, seed=10 * number + n) for n, listener in enumerate(listeners)]
        for rater in raters:
            rater.start()
        for rater in raters:
            rater.enough.wait(30)
        assert server.end(signal.SIGKILL) == -signal.SIGKILL  # in the middle of their requests
        for rater in raters:
            rater.join()
            assert rater.confirmed and not rater.done
            known.learn(rater)
        server = ServerProcess(test.folder)
        for listener in listeners:
            listener.address = server.address
        assert known.wrong(test.database) == []
    for n, listener in enumerate(listeners):
        last = Rater(listener, seed=99 + n)
        last.run()
        assert last.done
        known.learn(last)
    assert server.end(signal.SIGINT) == 0
    assert known.wrong(test.database) == []
    stored = _stored(test.database)
    assert len(stored) == len({row[:2] for row in stored}) == 2 * (30 + 2) * 2  # listeners, clips and checks, questions
    assert summarise(test.folder)["metrics"]["listening"]["unfinished_listeners"] == 0


def test_a_confirmed_score_that_is_gone_would_be_noticed(tmp_path):
    """Otherwise the test above could not fail."""
    test = make_test(tmp_path, tasks={Task.SPEECH: 1}, num_checks=0)
    server, known = ServerProcess(test.folder), Known()
    rater = Rater(Listener(server.address), seed=0)
    rater.run()
    server.end(signal.SIGKILL)
    known.learn(rater)
    db = sqlite3.connect(test.database)
    db.execute("DELETE FROM ratings WHERE trial = (SELECT max(trial) FROM ratings)")
    db.commit()
    db.close()
    assert len(known.wrong(test.database)) == 1


def test_the_command_serves_a_folder_and_ends_well_on_a_signal(tmp_path):
    folder = make_test(tmp_path, tasks={Task.SPEECH: 1}).folder
    log = tmp_path / "log.txt"
    process = start(calm, "listen", "-o", str(folder), "--port", "0", folder=tmp_path, log=log)
    while not (log.exists() and "\n" in log.read_text()):
        process.join(0.05)
        assert process.exitcode is None
    first = log.read_text()
    assert Listener(first.split("http://")[1].split("/")[0]).current()["position"] == 1
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    assert log.read_text().removeprefix(first).startswith("Stopped.") and process.exitcode == 0


def _stored(database: Path) -> list[tuple[str, str, int]]:
    db = sqlite3.connect(database)
    try:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        join = "SELECT token, question, score FROM ratings JOIN trials ON trials.id = ratings.trial"
        return db.execute(join).fetchall()
    finally:
        db.close()
