"""What happens to a request before the application sees it: draining, origin, key, size, time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from calm.serving.errors_http import HttpError, error_response

if TYPE_CHECKING:
    from calm.serving.service import Service

__all__ = ["OPEN", "Guard"]

#: answered while the server drains, so that it can be watched, and records can be fetched
WATCHED = ("/health", "/metrics", "/v1/audio/records/")
#: answered without a key: what a browser loads before it can be given one
OPEN = ("/", "/health", "/health/live", "/openapi.json")
#: bodies of the largest size that may be held at once; smaller ones may be more
MAX_BODIES = 8
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, service: Service, open_paths: frozenset[str]) -> None:
        self._app, self._settings, self._traffic = app, service.settings, service.traffic
        self._measures, self._open_paths = service.measures, open_paths
        self._held_bytes = 0
        self._keys = [_digest(key) for key in service.settings.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = self._with_headers(send)
        try:
            self._check(scope)
        except HttpError as refusal:
            await error_response(refusal)(scope, receive, send)
            return
        self._traffic.begin()
        limited, release = self._limited(receive)
        try:
            await self._app(scope, limited, send)
        finally:
            release()
            self._traffic.end()

    def _check(self, scope: Scope) -> None:
        path, headers = scope["path"], Headers(scope=scope)
        if self._traffic.draining and not path.startswith(WATCHED):
            closing = {"Connection": "close", "Retry-After": "5"}
            raise HttpError(503, "The server is shutting down", code="shutting_down", headers=closing)
        self._check_host(headers)
        self._check_origin(headers)
        if self._keys and path not in self._open_paths:
            scope.setdefault("state", {})["client"] = self._check_key(headers)
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._settings.max_body_bytes:
            raise self._too_large()

    def _check_host(self, headers: Headers) -> None:
        """A page can give a name of its own to this address; a browser then takes the two for one."""
        allowed = self._settings.allowed_hosts
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if "*" not in allowed and name.lower() not in allowed:
            raise HttpError(403, "This server is not known by that name", code="host")

    def _check_origin(self, headers: Headers) -> None:
        """Browsers let any page send forms to a local server; they also say which page it was."""
        origin = headers.get("origin")
        if origin is None or origin in self._settings.cors_origins or "*" in self._settings.cors_origins:
            return
        try:
            asked = urlsplit(origin).netloc
        except ValueError:  # "http://[", say
            asked = ""
        if asked != headers.get("host"):
            raise HttpError(403, "Pages of other origins may not use this server", code="origin")

    def _check_key(self, headers: Headers) -> str:
        """Return a name of the key's owner, for the queue that is fair to clients; it does not tell the key."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = _digest(key.strip())
        # All keys are compared, each in constant time: how long it takes says nothing of them.
        known = [hmac.compare_digest(given, expected) for expected in self._keys]
        if scheme.lower() != "bearer" or not any(known):
            raise HttpError(
                401,
                "An API key is needed: Authorization: Bearer KEY",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return str(known.index(True))

    def _too_large(self) -> HttpError:
        limit = self._settings.max_body_bytes
        return HttpError(
            413, f"The request is larger than {limit:,} bytes", code="request_too_large", headers={"Connection": "close"}
        )

    def _limited(self, receive: Receive) -> tuple[Receive, Callable[[], None]]:
        """``receive`` that counts the body and gives it a time to arrive in; a length that is told may be a lie.

        What has arrived counts among the bytes of all requests until the second function is called.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.body_seconds
        seen, complete = 0, False

        async def limited() -> Message:
            nonlocal seen, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                closing = {"Connection": "close"}
                raise HttpError(408, "The request did not arrive in time", code="timeout", headers=closing) from None
            arrived = len(message.get("body", b""))
            seen += arrived
            self._held_bytes += arrived
            complete = not message.get("more_body", False)
            if seen > self._settings.max_body_bytes:
                raise self._too_large()
            if self._held_bytes > MAX_BODIES * self._settings.max_body_bytes:
                waiting = {"Connection": "close", "Retry-After": "5"}
                raise HttpError(429, "The server holds too many large requests", code="busy", headers=waiting)
            return message

        def release() -> None:
            self._held_bytes -= seen

        return limited, release

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] >= 400:
                    self._measures.refused(message["status"])
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        return sending


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
