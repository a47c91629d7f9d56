"""From the engine's thread to the server's loop: a stream of audio that can be awaited, and clients that go away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import Request

from calm.serving.engine import Engine
from calm.serving.stream import Stream
from calm.types import Waveform

__all__ = ["ClientGone", "LiveStream", "unless_gone"]

T = TypeVar("T")
#: ends of a stream that are not the clip's own: what was sent is not whole
BROKEN = ("cancelled", "deadline", "slow_reader", "error")


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class LiveStream:
    """One request of the engine, read by the loop that opened it. Close it, always: what is still running ends then."""

    def __init__(self, stream: Stream, changed: asyncio.Event) -> None:
        self.stream, self._changed = stream, changed

    @classmethod
    async def open(cls, engine: Engine, text: str, **options: Any) -> LiveStream:
        """Submit a request; planning encodes reference clips, so it happens in a thread. Raises what ``submit`` does."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def notify() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody reads any more
                loop.call_soon_threadsafe(changed.set)

        submitting = asyncio.create_task(asyncio.to_thread(engine.submit, text, notify=notify, **options))
        try:
            return cls(await asyncio.shield(submitting), changed)
        except asyncio.CancelledError:
            submitting.add_done_callback(_cancel_result)
            raise

    async def pieces(self) -> AsyncIterator[Waveform]:
        """The audio as it comes. Ends where the stream has ended, whatever the reason."""
        while True:
            self._changed.clear()
            for piece in self.stream.take():
                yield piece
            if self.stream.ended:
                return
            await self._changed.wait()

    @property
    def broken(self) -> bool:
        return self.stream.finish_reason in BROKEN

    def close(self) -> None:
        self.stream.cancel()


def _cancel_result(task: asyncio.Task[Stream]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().cancel()


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Await ``work``, or cancel it and raise ClientGone when the client closes the connection first."""
    task, gone = asyncio.ensure_future(work), asyncio.create_task(_until_gone(request.receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _until_gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
