"""The application: routes, refusals in one shape, and a guard around them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.types import ASGIApp

import calm
from calm.model.identity import Identity
from calm.safety import ProvenanceSettings, check_settings
from calm.serving import errors_http, routes_about, routes_speech, routes_voices
from calm.serving.engine import Engine
from calm.serving.guard import OPEN, Guard
from calm.serving.measures import Measures
from calm.serving.records import RecordStore
from calm.serving.service import Service
from calm.serving.settings import ServerSettings
from calm.serving.voices import VoiceStore

__all__ = ["PAGE", "make_app", "make_service"]

#: files of the page at /; served to everybody, so that a browser can be given a key there
PAGE = Path(__file__).parent / "page"
EXPOSED = ["X-Seed", "X-Record-Id", "X-Finish-Reason", "X-Model"]


def make_service(engine: Engine, settings: ServerSettings, *, identity: Identity | None = None) -> Service:
    """What the routes share. Raises ProvenanceError now where audio could not be signed later."""
    provenance = ProvenanceSettings.load(parts=settings.provenance)
    check_settings(provenance)
    return Service(
        engine=engine,
        settings=settings,
        voices=VoiceStore(settings.home, max_seconds=settings.max_reference_seconds, max_voices=settings.max_voices),
        records=RecordStore(settings.num_records),
        measures=Measures(engine),
        provenance=provenance,
        identity=identity,
    )


def make_app(service: Service, *, page: Path = PAGE) -> ASGIApp:
    """The ASGI application. It starts and stops nothing: the engine is the caller's."""
    # Interactive documentation would load scripts from elsewhere; /openapi.json stays.
    app = FastAPI(title="AudioCALM", version=calm.__version__, docs_url=None, redoc_url=None)
    app.state.service = service
    errors_http.install(app)
    for routes in (routes_speech, routes_voices, routes_about):
        app.include_router(routes.router)
    files = {f"/{path.relative_to(page).as_posix()}": path for path in page.rglob("*") if path.is_file()}
    if "/index.html" in files:
        files["/"] = files["/index.html"]
    for address, path in files.items():
        # One route a file: a folder mounted at / would answer for every wrong method of the other routes.
        app.add_route(address, _file_route(path), methods=["GET", "HEAD"], include_in_schema=False)
    guarded = Guard(app, service=service, open_paths=frozenset({*OPEN, *files}))
    if not service.settings.cors_origins:
        return guarded
    return CORSMiddleware(
        guarded,
        allow_origins=service.settings.cors_origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type"],
        expose_headers=EXPOSED,
    )


def _file_route(path: Path) -> Callable[[Request], Awaitable[FileResponse]]:
    async def answer(_: Request) -> FileResponse:
        return FileResponse(path)

    return answer
