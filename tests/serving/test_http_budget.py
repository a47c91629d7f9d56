"""All bodies together: what the server holds at once is bounded, however many send."""

from __future__ import annotations

import asyncio
import dataclasses

import httpx
import pytest
from fastapi import FastAPI, Request

from calm.serving import errors_http
from calm.serving.guard import MAX_BODIES, Guard
from tests.serving.http_lab import Lab

LARGEST = 1000


def holding(lab: Lab) -> tuple[Guard, asyncio.Semaphore, asyncio.Event]:
    """A guarded application that takes in each body and keeps it until the event is set."""
    app, taken, done = FastAPI(), asyncio.Semaphore(0), asyncio.Event()
    errors_http.install(app)

    @app.post("/hold")
    async def hold(request: Request) -> int:
        size = len(await request.body())
        taken.release()
        await done.wait()
        return size

    settings = dataclasses.replace(lab.service.settings, max_body_bytes=LARGEST)
    return Guard(app, service=dataclasses.replace(lab.service, settings=settings), open_paths=frozenset()), taken, done


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_bodies_beyond_the_budget_are_refused_until_others_have_ended(lab: Lab, anyio_backend: str):
    guard, taken, done = holding(lab)
    transport = httpx.ASGITransport(guard)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        held = [asyncio.create_task(client.post("/hold", content=bytes(LARGEST))) for _ in range(MAX_BODIES)]
        for _ in held:
            await taken.acquire()
        refused = await asyncio.wait_for(client.post("/hold", content=b"x"), 10)
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        error = refused.json()["error"]
        assert (error["type"], error["code"], set(error)) == ("rate_limit_error", "busy", {"message", "type", "param", "code"})
        done.set()
        assert {(await each).status_code for each in held} == {200}
        assert (await client.post("/hold", content=bytes(LARGEST))).json() == LARGEST
