"""POST /v1/audio/speech, and the signed records of what it sent."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response

from calm.serving.bridge import ClientGone, LiveStream, unless_gone
from calm.serving.encode import MEDIA_TYPES
from calm.serving.errors_http import HttpError
from calm.serving.live import LiveResponse
from calm.serving.schemas import ErrorBody, SpeechRequest
from calm.serving.sending import Sending, chunks, open_sending
from calm.serving.service import Service, service_of
from calm.serving.wish import Wish, read_wish

__all__ = ["router"]

router = APIRouter()
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 403, 404, 408, 413, 429, 500, 503, 504)
}
AUDIO = {media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA_TYPES.values()}
#: nobody reads this: the connection is closed
GONE = 499


@router.post(
    "/v1/audio/speech",
    response_class=Response,
    responses={**ERRORS, 200: {"content": {**AUDIO, "text/event-stream": {"schema": {}}}}},
)
async def speech(body: SpeechRequest, request: Request) -> Response:
    """Speak, or make a sound or music. The first bytes are sent when the first block is decoded."""
    service = service_of(request)
    try:
        wish = await unless_gone(request, asyncio.to_thread(read_wish, body, service))
        # Without keys nobody can be told apart: addresses are a proxy's.
        client = getattr(request.state, "client", "")
        opening = LiveStream.open(service.engine, wish.text, task=wish.task, client=client, **wish.options)
        live = await unless_gone(request, opening)
        return await _answer(body, request, service, wish, live)
    except ClientGone:
        return Response(status_code=GONE)


async def _answer(body: SpeechRequest, request: Request, service: Service, wish: Wish, live: LiveStream) -> Response:
    """Wait for the first bytes, so that a failure before them has a status of its own."""

    def close() -> None:
        live.close()
        service.measures.ended(live.stream)

    try:
        sending = open_sending(wish, body.response_format, service, as_file=body.stream_format == "file")
        data = chunks(live, sending)
        first = await unless_gone(request, anext(data))
    except BaseException:
        close()
        raise
    headers = {"X-Seed": str(wish.seed), "X-Record-Id": sending.record_id, "X-Model": service.model_name}
    rest, media_type = _joined(first, data), MEDIA_TYPES[body.response_format]
    if body.stream_format == "sse":
        rest, media_type = _events(rest, wish, live, sending), "text/event-stream"
    elif sending.whole:
        headers |= {"Content-Length": str(len(first)), "X-Finish-Reason": str(live.stream.finish_reason)}
    return LiveResponse(
        rest, close=close, write_seconds=service.settings.write_seconds, media_type=media_type, headers=headers
    )


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for data in rest:
        yield data


async def _events(data: AsyncIterator[bytes], wish: Wish, live: LiveStream, sending: Sending) -> AsyncIterator[bytes]:
    """OpenAI's events; the last one also says what a header could not know at the start."""
    try:
        async for part in data:
            yield _event(type="speech.audio.delta", audio=base64.b64encode(part).decode())
    except HttpError as error:
        yield _event(type="error", error={"message": error.detail, "type": "server_error", "param": None, "code": error.code})
        return
    yield _event(
        type="speech.audio.done",
        finish_reason=live.stream.finish_reason,
        seed=wish.seed,
        seconds=round(live.stream.timings.audio_seconds, 3),
        record_id=sending.record_id,
    )


def _event(**values: Any) -> bytes:
    return f"data: {json.dumps(values)}\n\n".encode()


@router.get("/v1/audio/records/{id}", responses={**ERRORS, 200: {"content": {"application/json": {}}}})
async def record(id: str, request: Request) -> Response:
    """The signed record of one response, as the sidecar of a file: save it beside the audio as FILE.provenance.json."""
    found = service_of(request).records.get(id)
    if found is None:
        raise HttpError(404, "There is no such record, or no longer", param="id", code="record_not_found")
    return Response(found, media_type="application/json")
