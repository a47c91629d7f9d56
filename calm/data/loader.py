"""Steps -> batches, in this process or in workers, always in the order of the steps."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from calm.data.collate import Collate
from calm.data.examples import ExampleReader
from calm.data.plan import Draw
from calm.data.source import Source
from calm.errors import CalmError
from calm.types import Batch

__all__ = ["Batches", "FixedBatches", "build_loader"]

# A worker that answers nothing for so long is stuck (a dead file server, a deadlock): fail instead of waiting.
TIMEOUT_SECONDS = 600


class Batches(IterableDataset):
    """Endless training batches from ``first_step`` on; worker w of W makes steps w, w + W, ..."""

    def __init__(self, source: Source, collate: Collate, *, first_step: int) -> None:
        self.source, self.collate, self.first_step = source, collate, first_step

    def __iter__(self) -> Iterator[Batch | CalmError]:
        worker, num_workers = _worker()
        try:
            batches = self.source.batches(first_step=self.first_step, worker=worker, num_workers=num_workers)
            for step, examples in batches:
                yield self.collate(examples, step)
        except CalmError as error:
            # Handed over as a value: the loader would wrap what is raised in the worker's traceback.
            yield error


class FixedBatches(IterableDataset):
    """The same finite batches every time, for validation."""

    def __init__(self, reader: ExampleReader, collate: Collate, batches: Sequence[Sequence[Draw]]) -> None:
        self.reader, self.collate, self.batches = reader, collate, batches

    def __iter__(self) -> Iterator[Batch | CalmError]:
        worker, num_workers = _worker()
        try:
            for number in range(worker, len(self.batches), num_workers):
                yield self.collate([self.reader.read(draw) for draw in self.batches[number]], number)
        except CalmError as error:
            yield error


class _Loader(DataLoader):
    """Raises the errors that a dataset hands over, and counts the seconds for which its batches were waited for."""

    waited_seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        items = super().__iter__()
        while True:
            began = time.perf_counter()
            item = next(items, None)
            self.waited_seconds += time.perf_counter() - began
            if item is None:
                return
            if isinstance(item, CalmError):
                raise item
            yield item


def build_loader(dataset: IterableDataset, *, num_workers: int) -> DataLoader[Any]:
    """Return a loader of finished batches. Its workers take turns, so batches keep the dataset's order."""
    return _Loader(
        dataset,
        batch_size=None,
        num_workers=num_workers,
        timeout=TIMEOUT_SECONDS if num_workers else 0,
        worker_init_fn=_leave_signals,
    )


def _leave_signals(worker: int) -> None:
    """A terminal and a scheduler signal all processes; the first decides, and still needs batches to come to a good end.

    So a worker minds SIGTERM of its parent alone, who sends it to what is left at its own end.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # macOS has none, and no handler is told the sender
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with, args=(multiprocessing.parent_process().pid,), daemon=True).start()


def _end_with(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def _worker() -> tuple[int, int]:
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)
