"""What the routes share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from starlette.requests import Request

from calm.model.identity import Identity
from calm.safety import ProvenanceSettings
from calm.serving.engine import Engine
from calm.serving.measures import Measures
from calm.serving.records import RecordStore
from calm.serving.settings import ServerSettings
from calm.serving.traffic import Traffic
from calm.serving.voices import VoiceStore

__all__ = ["Service", "service_of"]


@dataclass(kw_only=True)
class Service:
    """One server: its engine, its settings, and what it keeps.

    ``identity``: hashes of the model's files for records of origin, where there are files.
    """

    engine: Engine
    settings: ServerSettings
    voices: VoiceStore
    records: RecordStore
    measures: Measures
    provenance: ProvenanceSettings
    identity: Identity | None = None
    traffic: Traffic = field(default_factory=Traffic)
    started: int = field(default_factory=lambda: int(time.time()))

    @property
    def model_name(self) -> str:
        return self.engine.model.name


def service_of(request: Request) -> Service:
    """The service of the app that a request came to."""
    return request.app.state.service
