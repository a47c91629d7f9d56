"""One connection: a head that must arrive in time, and a way to cut it."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from calm.serving.live import ABORT

__all__ = ["connection_class"]


def connection_class(*, header_seconds: float, max_connections: int) -> type[H11Protocol]:
    """uvicorn's own protocol, with two limits that it does not have.

    Args:
        header_seconds: from the opening, or from the first byte of a further request, to the end of its head.
        max_connections: further ones are closed at once.
    """

    class Connection(H11Protocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._deadline: asyncio.TimerHandle | None = None
            self.app = self._with_abort(self.app)

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > max_connections:
                transport.abort()
            else:
                self._expect_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:
                self._expect_head()
            else:
                self._expect_nothing()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            # What the client sent meanwhile may be half a head.
            if self.cycle.response_complete and self.conn.trailing_data[0]:
                self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._expect_nothing()
            super().connection_lost(exc)

        def _expect_head(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(header_seconds, self.transport.abort)

        def _expect_nothing(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _with_abort(self, app: ASGIApp) -> ASGIApp:
            async def with_abort(scope: Scope, receive: Receive, send: Send) -> None:
                await app({**scope, ABORT: self.transport.abort}, receive, send)

            return with_abort

    return Connection
