"""Where the launchers of several nodes meet: small files in the run's folder, by which all are in the same attempt.

torchrun's static rendezvous has no number of an attempt. A node that starts again within the second in which the main
node has not yet noticed the fault would join the store of the old attempt, find the addresses of dead workers there,
and wait for them until its start-up time-out. So the main node names every attempt; the others join each only once,
ask for a new one when theirs has ended, and leave one that the main node has left. The main node reads the files of
all, the others only the main node's, which passes on what it learns: many nodes do not all read each other's.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from calm.audio.files import write_bytes

__all__ = ["Meeting"]

#: the folder of the files, in the run's folder
FOLDER = "launch"
#: seconds between two looks at the other nodes
LOOK_SECONDS = 0.5

State = Literal["running", "waiting", "leaving"]


@dataclass(frozen=True, kw_only=True)
class _Note:
    """What a node says of itself: the attempt that it joined last, and whether it waits for another or leaves."""

    attempt: str
    state: State
    time: float

    def __post_init__(self) -> None:
        if type(self.attempt) is not str or self.state not in get_args(State) or type(self.time) not in (int, float):
            raise ValueError(f"not a note: {vars(self)}")


class Meeting:
    """One node's part of the agreement. Of a single node nothing is written, and all is agreed.

    Args:
        run_dir: the run's folder, the same for all nodes.
        node_rank, num_nodes: which node this is; node 0 names the attempts.
    """

    def __init__(self, run_dir: Path, *, node_rank: int, num_nodes: int) -> None:
        self.folder, self.node_rank, self.num_nodes = run_dir / FOLDER, node_rank, num_nodes
        #: whose notes this node reads
        self.watched = [0] if node_rank else list(range(1, num_nodes))
        # What an earlier launch left behind says nothing about this one, but for the attempt that must not be joined twice.
        self._left_over = {rank: self._read(rank) for rank in self.watched}
        before = self._read(node_rank)
        self.attempt = before.attempt if before is not None and self.watched else ""
        self._has_left = False

    def agree(self, stop_asked: Callable[[], bool], *, timeout: float) -> bool:
        """Be in an attempt that this node was not in before; False where node 0 names none within ``timeout`` seconds."""
        if not self.watched:
            return True
        if self.node_rank == 0:
            self.attempt = uuid.uuid4().hex
            self._write("running")
            return True
        self._write("waiting")
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not stop_asked():
            if (attempt := self._next_attempt()) is not None:
                self.attempt = attempt
                self._write("running")
                return True
            time.sleep(LOOK_SECONDS)
        return False

    def broken(self) -> str | None:
        """Return why this attempt cannot go on, in a few words; None where nothing speaks against it."""
        if self.node_rank:
            return None if self._next_attempt() is None else "the main node starts anew"
        for rank in self.watched:
            note = self._read(rank)
            if note is not None and (note.attempt, note.state) == (self.attempt, "waiting"):
                return f"node {rank} starts anew"
        return None

    def is_left(self) -> bool:
        """Whether a watched node has been asked to stop, so that all have to: the main node passes it on (``leave``)."""
        notes = ((self._read(rank), self._left_over[rank]) for rank in self.watched)
        return any(note is not None and note.state == "leaving" and note != before for note, before in notes)

    def leave(self) -> None:
        """Tell those who watch this node that it has been asked to stop, or has learned that another was."""
        if self.watched and not self._has_left:
            self._has_left = True
            self._write("leaving")

    def _next_attempt(self) -> str | None:
        """The attempt that node 0 is in, where it is another than this node's."""
        main = self._read(0)
        is_next = main is not None and main.state == "running" and main.attempt != self.attempt
        return main.attempt if is_next else None

    def _path(self, rank: int) -> Path:
        return self.folder / f"node-{rank:05d}.json"

    def _read(self, rank: int) -> _Note | None:
        with suppress(OSError, ValueError, TypeError, RecursionError):
            return _Note(**json.loads(self._path(rank).read_text(encoding="utf-8")))
        return None

    def _write(self, state: State) -> None:
        note = _Note(attempt=self.attempt, state=state, time=time.time())
        write_bytes(self._path(self.node_rank), (json.dumps(asdict(note)) + "\n").encode())
