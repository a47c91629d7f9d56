"""The test over HTTP: Python's own server, small, for a laboratory. It keeps no log, no address, no user agent.

    GET  /, /listen.css, /listen.js     the page
    GET  /audio/TOKEN                   a clip; byte ranges are served
    POST /api/session                   {} -> {"session"}
    GET  /api/next                      header X-Session -> the current clip, or the code at the end
    POST /api/rating                    {"session", "trial", "question", "score"} -> {"saved"}
    POST /api/next                      {"session", "trial"}: done with this clip -> the current clip
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from calm.errors import InputError
from calm.listening.handler import Handler
from calm.listening.records import ListeningTest
from calm.listening.service import Service

__all__ = ["Server", "serve"]

_log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
#: a request must have arrived within this time
REQUEST_SECONDS = 15.0
POLL_SECONDS = 0.25


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A bound server; ``serve_forever`` answers until ``shutdown``. Close it, or use it as a context manager.

    Args:
        host, port: to listen at; port 0 takes a free one, see ``url``.
        request_seconds: a connection whose request is not complete by then is closed.
    Raises InputError where the address cannot be had.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self,
        test: ListeningTest,
        *,
        host: str = "127.0.0.1",
        port: int = 8765,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.service = Service(test)
        self.pages = self.service.pages()
        self.request_seconds = request_seconds
        self._lock = threading.Lock()
        #: open connections; the time by which a request must be here, None once it is
        self._deadlines: dict[socket.socket, float | None] = {}
        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            self.service.store.close()
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"The server cannot listen ({reason})", where=f"{host}:{port}", hint="--port N") from None

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{f'[{host}]' if ':' in str(host) else host}:{port}/"

    def request_is_here(self, connection: socket.socket) -> None:
        """Take the deadline off a connection: what follows is our reply."""
        with self._lock:
            if connection in self._deadlines:
                self._deadlines[connection] = None

    def verify_request(self, request: Any, client_address: Any) -> bool:
        with self._lock:
            if len(self._deadlines) >= MAX_CONNECTIONS:
                return False
            self._deadlines[request] = time.monotonic() + self.request_seconds
            return True

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called between requests: end those that trickle in byte by byte, which no socket time-out does."""
        now = time.monotonic()
        with self._lock:
            late = [connection for connection, at in self._deadlines.items() if at is not None and at < now]
            for connection in late:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is the listener's affair; a defect of ours is logged, without the address."""
        if not isinstance(sys.exception(), OSError):
            _log.exception("A request of the listening test failed")

    def server_close(self) -> None:
        super().server_close()
        self.service.store.close()


def serve(
    test: ListeningTest, *, host: str = "127.0.0.1", port: int = 8765, on_ready: Callable[[str], object] | None = None
) -> None:
    """Serve a test until SIGINT or SIGTERM; ``on_ready`` is called with its address once it answers.

    Raises InputError where the address cannot be had.
    """
    with Server(test, host=host, port=port) as server, _stopped_by_signals(server):
        if on_ready is not None:
            on_ready(server.url)
        server.serve_forever(poll_interval=POLL_SECONDS)


@contextlib.contextmanager
def _stopped_by_signals(server: Server) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers; the caller's own are in force
        return

    def stop(number: int, frame: FrameType | None) -> None:
        # `shutdown` waits for the loop that this handler interrupts.
        threading.Thread(target=server.shutdown).start()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
