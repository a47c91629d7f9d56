"""A fair queue: clients take turns, and each client's requests come in their order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["FairQueue"]

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Round robin over clients, first come first served within one. Not safe among threads by itself."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __iter__(self) -> Iterator[T]:
        for items in self._waiting.values():
            yield from items

    def push(self, client: str, item: T) -> None:
        self._waiting.setdefault(client, deque()).append(item)

    def pop(self) -> T:
        """Take the next item; its client goes behind the others. Raises KeyError where nothing waits."""
        client, items = self._waiting.popitem(last=False)
        item = items.popleft()
        if items:
            self._waiting[client] = items
        return item

    def keep(self, wanted) -> None:
        """Drop the items of which ``wanted(item)`` is false."""
        for client, items in list(self._waiting.items()):
            kept = deque(item for item in items if wanted(item))
            if kept:
                self._waiting[client] = kept
            else:
                del self._waiting[client]
