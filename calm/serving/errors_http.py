"""Every refusal in one shape, that of OpenAI: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

import logging
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from calm.errors import Busy, CalmError, Closing, ConsentError, DataError, InputError, did_you_mean
from calm.serving.schemas import SpeechRequest

__all__ = ["HttpError", "error_response", "from_calm", "install"]

_log = logging.getLogger(__name__)

#: characters of a message
MAX_MESSAGE = 1000
#: what a call of the engine names an argument -> what the request names it
PARAMS = {"text": "input", "reference": "ref_audio", "task": "task"}
TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class HttpError(HTTPException):
    """A refusal with its status. ``param`` is the field of the request, ``code`` a word for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail=message, headers=headers)
        self.param, self.code = param, code


def error_response(error: HTTPException) -> JSONResponse:
    """The response to a refusal."""
    status = error.status_code
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    said = {
        "message": _printable(error.detail),
        "type": kind,
        "param": _printable(param) if (param := getattr(error, "param", None)) else None,
        "code": getattr(error, "code", None),
    }
    return JSONResponse({"error": said}, status_code=status, headers=error.headers)


def _printable(text: object) -> str:
    """Short, and valid Unicode: what a request says of itself need not be."""
    return str(text)[:MAX_MESSAGE].encode("utf-8", "replace").decode()


def from_calm(error: CalmError, *, param: str | None = None) -> HttpError:
    """The refusal for an error of ours.

    ``where`` is left out of the text: it may be a path of this machine. Where it is an argument, it is ``param``.
    """
    parts = [error.what.rstrip(".")]
    parts += [f"Allowed: {error.allowed}"] if error.allowed else []
    parts += [str(error.hint)] if error.hint else []
    where = str(error.where or "")
    param = param or PARAMS.get(where) or (where if where.isidentifier() else None)
    message = ". ".join(parts)
    if isinstance(error, Busy):
        wait = {"Retry-After": str(math.ceil(error.retry_seconds))}
        return HttpError(429, f"{error.what}. {error.hint}", code="busy", headers=wait)
    if isinstance(error, Closing):
        return HttpError(503, "The server is shutting down", code="shutting_down", headers={"Retry-After": "5"})
    if isinstance(error, ConsentError):
        return HttpError(403, message, param=param, code="consent")
    if isinstance(error, InputError | DataError):
        return HttpError(400, message, param=param, code="invalid_value")
    return HttpError(500, "The server cannot do this; its log says why", code=type(error).__name__)


def install(app: FastAPI) -> None:
    """Let the app answer every error in this shape, its own 404 and 405 too."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(CalmError, _calm)
    app.add_exception_handler(Exception, _unexpected)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return error_response(error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """The first thing that is wrong with a request's fields. Values are not repeated: they may be long or private."""
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = error.errors()[0]
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    what = first["msg"].removeprefix("Value error, ")
    code = {"missing": "missing_field", "extra_forbidden": "unknown_field"}.get(first["type"], "invalid_value")
    if code == "unknown_field" and len(place) == 1:
        fields = SpeechRequest.model_fields
        what = " ".join(filter(None, ["unknown field.", did_you_mean(place[0], fields), f"Allowed: {', '.join(fields)}"]))
    if first["type"] == "json_invalid":
        what, place = f"it is no JSON: {first.get('ctx', {}).get('error', what)}, at character {place[-1] if place else 0}", []
    name = place[0] if place else None
    message = f"{'.'.join(place)}: {what}" if place else f"The request cannot be read: {what}"
    return error_response(HttpError(400, message, param=name, code=code))


async def _calm(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, CalmError)
    refusal = from_calm(error)
    if refusal.status_code >= 500:
        _log.error("a request failed: %s", error)
    return error_response(refusal)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    return error_response(HttpError(500, "The server failed; its log says why", code="internal_error"))
