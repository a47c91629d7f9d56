"""What the server allows, and where it keeps what it is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from calm.errors import InputError
from calm.safety.settings import PARTS, home

__all__ = ["ServerSettings"]


def _home() -> Path:
    return home() / "server"


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Limits of the server; those of generation itself are the engine's.

    Args:
        host, port: address to listen at; port 0 takes a free one.
        home: folder of the registered voices.
        model_names: further names that requests may call the model by, for clients that cannot be told another.
        api_keys: a request needs one of them as a bearer token; none for a server without keys.
        cors_origins: pages of these origins may use the server from a browser; by default no other page may.
        allowed_hosts: accepted in the header ``Host``, so that no page reaches a local server by a name of its own;
            "*" accepts all.
        provenance: parts of ``calm.safety.settings.PARTS`` that audio gets.
        max_connections: open connections.
        max_body_bytes: of a request.
        max_reference_seconds: of a reference clip.
        header_seconds, body_seconds: a request's head and its body must have arrived within this time.
        write_seconds: a client that takes nothing for so long is dropped.
        drain_seconds: running requests have so long after SIGTERM.
        num_records: signed records of streams that are kept to be fetched.
        max_voices: registered voices.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    home: Path = field(default_factory=_home)
    model_names: tuple[str, ...] = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    provenance: tuple[str, ...] = PARTS
    max_connections: int = 512
    max_body_bytes: int = 16 << 20
    max_reference_seconds: float = 60.0
    header_seconds: float = 15.0
    body_seconds: float = 60.0
    write_seconds: float = 30.0
    drain_seconds: float = 20.0
    num_records: int = 1000
    max_voices: int = 1000

    def __post_init__(self) -> None:
        for name in ("max_connections", "max_body_bytes", "num_records"):
            _require(getattr(self, name) >= 1, name, "1 or more")
        for name in ("max_reference_seconds", "header_seconds", "body_seconds", "write_seconds"):
            _require(getattr(self, name) > 0, name, "above 0")
        _require(self.drain_seconds >= 0, "drain_seconds", "0 or more")
        _require(0 <= self.port <= 65535, "port", "0 to 65535")


def _require(holds: bool, name: str, allowed: str) -> None:
    if not holds:
        raise InputError(f"{name} is out of range", where=name, allowed=allowed)
