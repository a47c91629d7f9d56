"""A real server in a thread of its own, on a free port, with the shipped model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai

from calm.generation import AudioCALM
from calm.model.identity import identify
from calm.serving.app import make_service
from calm.serving.engine import Engine
from calm.serving.limits import Limits
from calm.serving.server import Server, bind, url_of
from calm.serving.service import Service
from calm.serving.settings import ServerSettings

__all__ = ["Lab", "serving"]

START_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A running server."""

    url: str
    service: Service
    server: Server
    thread: threading.Thread

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def post(self, **body: Any) -> httpx.Response:
        """A cheap request for a short sound; ``body`` changes it."""
        fields = {"input": "rain", "task": "sound", "duration": 0.3, "steps": 1, "seed": 1, "response_format": "wav"}
        fields = {name: value for name, value in {**fields, **body}.items() if value is not None}
        return httpx.post(f"{self.url}/v1/audio/speech", json=fields, timeout=60)

    def openai(self, **options: Any) -> openai.OpenAI:
        return openai.OpenAI(**{"base_url": f"{self.url}/v1", "api_key": "none", "max_retries": 0, **options})


@contextmanager
def serving(model: AudioCALM, *, limits: Limits | None = None, **settings: Any) -> Iterator[Lab]:
    """Serve until the block ends; the server has drained then."""
    settings = ServerSettings(port=0, **{"drain_seconds": 1.0, **settings})
    bound, ready = bind(settings), threading.Event()
    with Engine(model, limits) as engine:
        service = make_service(engine, settings, identity=identify("mini"))
        server = Server(service, on_ready=ready.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        url = url_of(bound)
        thread.start()
        assert ready.wait(START_SECONDS)
        try:
            yield Lab(url=url, service=service, server=server, thread=thread)
        finally:
            if thread.is_alive():
                server.close()
            thread.join()
