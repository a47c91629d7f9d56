"""One request of the listening test: checked before it is read, answered from a fixed table of paths."""

from __future__ import annotations

import json
import re
import sqlite3
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from calm.errors import CalmError
from calm.listening.records import VOLUME
from calm.listening.store import Closed, UnknownToken

if TYPE_CHECKING:
    from calm.listening.server import Server

__all__ = ["MAX_BODY_BYTES", "Handler"]

MAX_BODY_BYTES = 4096
#: of a body that is refused so much is read and forgotten, so that the sender sees the reply
MAX_DRAINED_BYTES = 65_536
BLOCK_BYTES = 65_536
TOKEN = re.compile(r"[0-9a-f]{32}")
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; media-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Connection": "close",
}


class Refused(Exception):
    """A request that gets an error: status and one sentence."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        self.status, self.why, self.headers = status, why, headers


class Handler(BaseHTTPRequestHandler):
    """Answers one request and closes the connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    #: of one read or write on the socket, in seconds
    timeout = 15

    def do_GET(self) -> None:
        try:
            self._answer()
        except Refused as refused:
            self._error(refused.status, refused.why, **refused.headers)
        except UnknownToken as error:
            self._error(404, error.what)
        except Closed as error:
            self._error(409, error.what)
        except CalmError as error:
            self._error(400, str(error))
        except sqlite3.Error:
            self._error(503, "The rating could not be stored, try again")

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = do_GET

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        clip = path.removeprefix("/audio/") if path.startswith("/audio/") else None
        posts = {"/api/session": self._begin, "/api/rating": self._rate, "/api/next": self._move_on}
        gets: dict[str, Any] = {"/api/next": self._current}
        gets |= dict.fromkeys(self.server.pages, self._page)
        if clip is not None and (clip == VOLUME or TOKEN.fullmatch(clip)):
            gets[path] = self._audio
        allowed = (["GET", "HEAD"] if path in gets else []) + (["POST"] if path in posts else [])
        if not allowed:
            raise Refused(404, "There is nothing here")
        if self.command not in allowed:
            raise Refused(405, "This method is not allowed here", Allow=", ".join(allowed))
        if self.command == "POST":
            body = self._body()
            self.server.request_is_here(self.connection)
            self._json(posts[path](body))
        else:
            self.server.request_is_here(self.connection)
            gets[path](path)

    def _begin(self, body: dict[str, Any]) -> dict[str, Any]:
        return self.server.service.begin()

    def _rate(self, body: dict[str, Any]) -> dict[str, Any]:
        session, trial, question = (_text(body, key) for key in ("session", "trial", "question"))
        return self.server.service.rate(session, trial, question=question, score=body.get("score"))

    def _move_on(self, body: dict[str, Any]) -> dict[str, Any]:
        return self.server.service.move_on(_text(body, "session"), _text(body, "trial"))

    def _current(self, path: str) -> None:
        self._json(self.server.service.current(self.headers.get("X-Session", "")))

    def _page(self, path: str) -> None:
        media_type, content = self.server.pages[path]
        self._send(200, content, media_type, {"Cache-Control": "no-cache"})

    def _audio(self, path: str) -> None:
        """Send a clip or one range of it (RFC 9110, section 14); Safari plays nothing without ranges."""
        file = self.server.service.audio(path.removeprefix("/audio/"))
        if not file.is_file():
            raise Refused(404, "The clip is gone")
        size = file.stat().st_size
        span = _span(self.headers.get("Range"), size)
        start, end = span or (0, size)
        headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, max-age=3600"}
        if span is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._head(206 if span else 200, "audio/wav", end - start, headers)
        if self.command == "HEAD":
            return
        with file.open("rb") as source:
            source.seek(start)
            left = end - start
            while left and (block := source.read(min(BLOCK_BYTES, left))):
                self.wfile.write(block)
                left -= len(block)

    def _body(self) -> dict[str, Any]:
        """Read a JSON object; size, type and origin are checked before a byte of it is read."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,12}", length) or "Transfer-Encoding" in self.headers:
            raise Refused(411, "A request with a body needs a Content-Length")
        if int(length) > MAX_BODY_BYTES:
            if int(length) <= MAX_DRAINED_BYTES:
                self.rfile.read(int(length))
            raise Refused(413, f"A request has at most {MAX_BODY_BYTES} bytes")
        body = self.rfile.read(int(length))
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "A request is application/json")
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != self.headers.get("Host"):
            raise Refused(403, "Other pages may not take part in the test")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            raise Refused(400, "The request is no JSON") from None
        if not isinstance(found, dict):
            raise Refused(400, "The request is no JSON object")
        return found

    def _json(self, reply: dict[str, Any], status: int = 200, **headers: str) -> None:
        content = json.dumps(reply, ensure_ascii=False).encode()
        self._send(status, content, "application/json", {"Cache-Control": "no-store", **headers})

    def _error(self, status: int, why: str, **headers: str) -> None:
        self._json({"error": why}, status, **headers)

    def _send(self, status: int, content: bytes, media_type: str, headers: dict[str, str]) -> None:
        self._head(status, media_type, len(content), headers)
        if self.command != "HEAD":
            self.wfile.write(content)

    def _head(self, status: int, media_type: str, size: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": media_type, "Content-Length": str(size), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """For requests that the base class refuses: unreadable, too long, unknown methods."""
        self.close_connection = True
        self.command = self.command or "GET"
        self._error(code, "The request cannot be answered")

    def version_string(self) -> str:
        return "calm"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged: a line would hold the listener's address."""


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not (isinstance(value, str) and value.isascii()):
        raise Refused(400, f"'{key}' is missing, or no plain text")
    return value


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of the one range that is asked for; None for the whole file."""
    found = RANGE.fullmatch(header or "")
    if found is None or found[1] == found[2] == "":
        return None  # several ranges, or another unit: a server may send everything
    first, last = found[1], found[2]
    if first == "":
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    if last and first and int(last) < int(first):
        return None
    if start >= end:
        raise Refused(416, "The clip has no such bytes", **{"Content-Range": f"bytes */{size}"})
    return start, end
