"""A response that is sent while it is made, to a client that may be slow or gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from calm.serving.errors_http import HttpError

__all__ = ["ABORT", "LiveResponse"]

_log = logging.getLogger(__name__)
#: key of the ASGI scope: a function that cuts the connection, so that no client takes half a clip for a whole one
ABORT = "calm.abort"


class LiveResponse(StreamingResponse):
    """Sends ``body`` as it comes, and calls ``close`` at the end, whatever the end is.

    Args:
        write_seconds: a client that takes nothing for so long is dropped.
    """

    def __init__(
        self,
        body: AsyncIterator[bytes],
        *,
        close: Callable[[], None],
        write_seconds: float,
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(body, media_type=media_type, headers=headers)
        self._close, self._write_seconds = close, write_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(self.listen_for_disconnect(receive))
        sending = asyncio.create_task(self._send(send))
        try:
            await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        except (TimeoutError, HttpError) as error:
            _log.warning("a response was cut: %s", error or "the client did not read")
            scope.get(ABORT, _no_abort)()
            await asyncio.sleep(0)  # the connection is told before this response returns unfinished
        finally:
            for task in (gone, sending):
                task.cancel()
            await asyncio.gather(gone, sending, return_exceptions=True)
            with contextlib.suppress(RuntimeError):
                await self.body_iterator.aclose()  # type: ignore[union-attr]
            self._close()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for data in self.body_iterator:
            async with asyncio.timeout(self._write_seconds):
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _no_abort() -> None:
    """A server without our connections cuts what ends unfinished by itself."""
