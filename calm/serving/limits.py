"""What an engine takes on, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Integral, Real

from calm.errors import ConfigError, InputError

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Caps of an ``Engine``, all above 0. Raises ConfigError for others."""

    #: requests that are generated together
    max_running: int = 16
    #: requests that wait for a place
    max_queued: int = 128
    #: requests of one named client, waiting and running
    max_per_client: int = 32
    max_text_characters: int = 2000
    #: length of a clip
    max_seconds: float = 60.0
    #: ODE steps that a request may ask for: all that run together wait for the one with the most
    max_steps: int = 64
    #: time from submission to the end
    deadline_seconds: float = 300.0
    #: audio that waits for a reader before its request pauses
    max_buffered_seconds: float = 10.0
    #: a request that has paused so long for its reader ends
    max_paused_seconds: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), Integral if field.type == "int" else Real
            if not isinstance(value, kind) or isinstance(value, bool) or not 0 < value < math.inf:
                allowed = f"a {'whole ' if kind is Integral else ''}number above 0"
                raise ConfigError(f"{field.name} is {value!r}", where=f"Limits.{field.name}", allowed=allowed)

    def check(self, text: object, options: dict) -> None:
        """Raise InputError for a text, a duration or a number of steps beyond the limits. Types are checked elsewhere."""
        if not isinstance(text, str):
            raise InputError(f"The prompt {text!r} is no text", where="text", allowed="one text per request")
        if len(text) > self.max_text_characters:
            allowed = f"at most {self.max_text_characters} characters here"
            raise InputError(f"The text has {len(text)} characters", where="text", allowed=allowed)
        for name, most in (
            ("duration", self.max_seconds),
            ("max_seconds", self.max_seconds),
            ("steps", self.max_steps),
        ):
            value = options.get(name)
            if isinstance(value, Real) and value > most:
                raise InputError(f"{name} = {value!r} is beyond the limit", where=name, allowed=f"at most {most:g} here")
