"""The server process: a bound socket, signals, and an end that lets running requests finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from calm.errors import InputError
from calm.serving.app import make_app
from calm.serving.connection import connection_class
from calm.serving.service import Service
from calm.serving.settings import ServerSettings

__all__ = ["Server", "bind", "url_of"]

_log = logging.getLogger(__name__)
#: after the time to drain, so long for connections to be closed
CLOSING_SECONDS = 2


def bind(settings: ServerSettings) -> socket.socket:
    """A socket at the address of the settings, before a model is loaded in vain. Raises InputError where it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        reason = error.strerror or error
        raise InputError(
            f"The server cannot listen ({reason})", where=f"{settings.host}:{settings.port}", hint="--port N, or --port 0 for a free one"
        ) from None
    return bound


def url_of(bound: socket.socket) -> str:
    """Where a bound socket is reached."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class Server(uvicorn.Server):
    """Serves until SIGINT or SIGTERM, or ``close``; then drains, and ``run`` returns. A second signal ends it at once.

    Args:
        service: its engine must be started; it is stopped at the end.
        on_ready: called once requests are answered.
    """

    def __init__(self, service: Service, *, on_ready: Callable[[], object] | None = None) -> None:
        settings = service.settings
        protocol = connection_class(header_seconds=settings.header_seconds, max_connections=settings.max_connections)
        config = uvicorn.Config(
            make_app(service),
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=CLOSING_SECONDS,
        )
        super().__init__(config)
        self._service, self._on_ready = service, on_ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        if self._on_ready is not None:
            self._on_ready()

    def close(self) -> None:
        """Begin to drain; from any thread."""
        assert self._loop is not None, "the server has not been started"
        self._loop.call_soon_threadsafe(self._begin_to_drain)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Instead of uvicorn's, which ends the process by the signal that it caught."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: object) -> None:
        if self._loop is None:  # while it starts
            self.should_exit = True
        else:
            self.close()

    def _begin_to_drain(self) -> None:
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._drain())
        else:
            self.force_exit = self.should_exit = True

    async def _drain(self) -> None:
        """Refuse what is new, wait for what runs, cancel the rest."""
        traffic, engine = self._service.traffic, self._service.engine
        traffic.draining = True
        _log.info("no new requests; %d running", traffic.active)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(traffic.idle.wait(), self._service.settings.drain_seconds)
        await asyncio.to_thread(engine.stop, 0.0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(traffic.idle.wait(), CLOSING_SECONDS)
        self.should_exit = True
