"""Sessions, trials and ratings in SQLite: a rating is on the disk before the listener hears that it is saved."""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from calm.errors import CalmError, DataError
from calm.listening.attention import failure
from calm.listening.plan import plan_session
from calm.listening.questions import questions_of
from calm.listening.records import ListeningTest

__all__ = ["Closed", "Session", "Store", "Trial", "UnknownToken", "count_ratings", "remove_store"]

#: an unfinished session that was not heard of for so long is taken for given up
ACTIVE_SECONDS = 4 * 3600
MAX_SESSIONS = 10_000
#: letters that are not mistaken for one another
CODE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

SCHEMA = """
CREATE TABLE IF NOT EXISTS test (fingerprint TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
    id INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, code TEXT NOT NULL UNIQUE, seen INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS trials (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions, position INTEGER NOT NULL,
    token TEXT NOT NULL UNIQUE, stimulus TEXT NOT NULL, kind TEXT NOT NULL, closed INTEGER NOT NULL DEFAULT 0,
    UNIQUE (session, position)
);
CREATE TABLE IF NOT EXISTS ratings (
    session INTEGER NOT NULL REFERENCES sessions, trial INTEGER NOT NULL REFERENCES trials, question TEXT NOT NULL,
    score INTEGER NOT NULL CHECK (score BETWEEN 1 AND 5), PRIMARY KEY (session, trial, question)
) WITHOUT ROWID;
"""


class UnknownToken(CalmError):
    """No session or trial has this token."""


class Closed(CalmError):
    """The listener has moved on: what was rated stays."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial as it stands. ``scores`` by question key; ``position`` counts from 0."""

    id: int
    position: int
    token: str
    stimulus: str
    kind: Literal["rated", "spoilt", "repeat"]
    closed: bool
    scores: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Session:
    """A listener's trials in their order, and the code that is given at the end."""

    id: int
    code: str
    seen: int
    trials: tuple[Trial, ...]

    @property
    def finished(self) -> bool:
        return all(trial.closed for trial in self.trials)

    @property
    def current(self) -> Trial | None:
        return next((trial for trial in self.trials if not trial.closed), None)


class Store:
    """The database of a test; threads and processes may share it.

    Raises DataError where the file is no database, or belongs to another test.
    """

    def __init__(self, test: ListeningTest) -> None:
        self.test = test
        self._lock = threading.RLock()
        self._db = sqlite3.connect(test.database, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(SCHEMA)
            with self._transaction():
                row = self._db.execute("SELECT fingerprint FROM test").fetchone()
                if row is None:
                    self._db.execute("INSERT INTO test VALUES (?)", (test.fingerprint,))
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise DataError(f"The ratings cannot be read ({error})", where=test.database) from None
        if row is not None and row[0] != test.fingerprint:
            self._db.close()
            raise DataError("The ratings belong to another test", where=test.database, hint="choose another folder")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def new_session(self) -> str:
        """Plan a session and return its token. Raises Closed where there are too many."""
        with self._transaction():
            number = self._db.execute("SELECT count(*) FROM sessions").fetchone()[0]
            if number >= MAX_SESSIONS:
                raise Closed("The test takes no more listeners", allowed=f"{MAX_SESSIONS} sessions")
            token, code = secrets.token_hex(16), "".join(secrets.choice(CODE_LETTERS) for _ in range(8))
            rng = np.random.default_rng([self.test.settings.seed, number])
            planned = plan_session(self.test, counts=self._counts(), rng=rng)
            insert = "INSERT INTO sessions (token, code, seen) VALUES (?, ?, ?)"
            session = self._db.execute(insert, (token, code, int(time.time()))).lastrowid
            # A token of its own for every trial: a repeated clip has another address than the first time.
            rows = [(session, n, secrets.token_hex(16), t.stimulus.name, t.kind) for n, t in enumerate(planned)]
            insert = "INSERT INTO trials (session, position, token, stimulus, kind) VALUES (?, ?, ?, ?, ?)"
            self._db.executemany(insert, rows)
        return token

    def session(self, token: str) -> Session:
        """Return a session. Raises UnknownToken."""
        with self._lock:
            row = self._db.execute("SELECT id FROM sessions WHERE token = ?", (token,)).fetchone()
            if row is None:
                raise UnknownToken("There is no such session")
            return next(self._sessions("WHERE sessions.id = ?", row))

    def sessions(self) -> list[Session]:
        """All sessions, in the order in which they began."""
        with self._lock:
            return list(self._sessions("", ()))

    def stimulus(self, trial: str) -> str:
        """Return the name of the clip of a trial. Raises UnknownToken."""
        with self._lock:
            row = self._db.execute("SELECT stimulus FROM trials WHERE token = ?", (trial,)).fetchone()
        if row is None:
            raise UnknownToken("There is no such clip")
        return row[0]

    def rate(self, session: str, trial: str, *, question: str, score: int) -> None:
        """Store a score; the same again changes nothing, another one replaces it until the listener moves on.

        Raises UnknownToken, and Closed where the trial is over or not yet reached.
        """
        with self._transaction():
            found = self._trial(session, trial)
            if found.scores.get(question) == score:
                return  # the reply to the first request was lost
            if found.closed or found != self.session(session).current:
                raise Closed("This clip is not the current one")
            self._db.execute(
                "INSERT INTO ratings SELECT session, id, ?, ? FROM trials WHERE id = ? "
                "ON CONFLICT DO UPDATE SET score = excluded.score",
                (question, score, found.id),
            )
            self._db.execute("UPDATE sessions SET seen = ? WHERE token = ?", (int(time.time()), session))

    def move_on(self, session: str, trial: str) -> None:
        """Close a trial; again changes nothing. Raises UnknownToken, and Closed where a question is open."""
        with self._transaction():
            found = self._trial(session, trial)
            asked = {question.key for question in questions_of(self.test.stimulus(found.stimulus).task)}
            if not asked <= found.scores.keys():
                raise Closed("This clip is not rated yet")
            self._db.execute("UPDATE trials SET closed = 1 WHERE id = ?", (found.id,))

    def _trial(self, session: str, trial: str) -> Trial:
        for found in self.session(session).trials:
            if found.token == trial:
                return found
        raise UnknownToken("There is no such clip in this session")

    def _counts(self) -> dict[str, int]:
        """How often each clip is rated or about to be, by listeners who have not failed nor given up."""
        counts: dict[str, int] = {}
        since = time.time() - ACTIVE_SECONDS
        for session in self._sessions("", ()):
            if failure(session.trials, settings=self.test.settings) is not None:
                continue
            for trial in session.trials:
                if trial.kind == "rated" and (trial.scores or session.seen > since):
                    counts[trial.stimulus] = counts.get(trial.stimulus, 0) + 1
        return counts

    def _sessions(self, where: str, values: tuple[Any, ...]) -> Iterator[Session]:
        rows = self._db.execute(
            "SELECT sessions.id, code, seen, trials.id, position, trials.token, stimulus, kind, closed, question, score "
            "FROM sessions JOIN trials ON trials.session = sessions.id "
            "LEFT JOIN ratings ON ratings.session = trials.session AND ratings.trial = trials.id "
            f"{where} ORDER BY sessions.id, position",
            values,
        ).fetchall()
        found: dict[int, dict[int, Trial]] = {}
        about: dict[int, tuple[str, int]] = {}
        for session, code, seen, number, position, token, stimulus, kind, closed, question, score in rows:
            about[session] = (code, seen)
            trial = Trial(id=number, position=position, token=token, stimulus=stimulus, kind=kind, closed=bool(closed))
            trial = found.setdefault(session, {}).setdefault(number, trial)
            if question is not None:
                trial.scores[question] = score
        for session, trials in found.items():
            code, seen = about[session]
            yield Session(id=session, code=code, seen=seen, trials=tuple(trials.values()))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def count_ratings(database: Path) -> int:
    """Ratings in a database; 0 where there is none. Raises DataError where the file cannot be read."""
    if not database.exists():
        return 0
    db = sqlite3.connect(database)
    try:
        if db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'ratings'").fetchone()[0] == 0:
            return 0
        return int(db.execute("SELECT count(*) FROM ratings").fetchone()[0])
    except sqlite3.DatabaseError as error:
        raise DataError(f"The ratings cannot be read ({error})", where=database, hint="choose another folder") from None
    finally:
        db.close()


def remove_store(database: Path) -> None:
    """Remove a database without ratings, and what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
