"""What the server says of itself: models, health, figures."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from calm.serving.errors_http import HttpError
from calm.serving.routes_speech import ERRORS
from calm.serving.schemas import Model, ModelList
from calm.serving.service import service_of

__all__ = ["router"]

router = APIRouter()


@router.get("/v1/models", responses=ERRORS)
async def models(request: Request) -> ModelList:
    """The model that is served."""
    service = service_of(request)
    return ModelList(data=[Model(id=service.model_name, created=service.started)])


@router.get("/v1/models/{id}", responses=ERRORS)
async def model(id: str, request: Request) -> Model:
    """The served model by its name."""
    service = service_of(request)
    if id != service.model_name:
        raise HttpError(404, f"This server serves '{service.model_name}'", param="id", code="model_not_found")
    return Model(id=service.model_name, created=service.started)


@router.get("/health", responses={503: {"description": "The server is shutting down, or has broken down."}})
async def health(request: Request) -> JSONResponse:
    """Whether requests are taken: 200, or 503 while the server shuts down, or where its engine has broken down."""
    service = service_of(request)
    statistics, draining = service.engine.statistics(), service.traffic.draining
    status = "draining" if draining else "ready" if service.engine.alive else "broken"
    said: dict[str, Any] = {
        "status": status,
        "model": service.model_name,
        "running": statistics.running,
        "queued": statistics.queued,
    }
    return JSONResponse(said, status_code=200 if status == "ready" else 503)


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Whether the server answers at all."""
    return {"status": "live"}


@router.get("/metrics", response_class=Response, responses={**ERRORS, 200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    return Response(service_of(request).measures.text(), media_type=CONTENT_TYPE_LATEST)
