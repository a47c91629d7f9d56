"""Errors that a person can act on: what is wrong, where, what is allowed, and the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "Busy",
    "CalmError",
    "CheckpointError",
    "Closing",
    "ConfigError",
    "ConsentError",
    "DataError",
    "InputError",
    "ProvenanceError",
    "UnknownNameError",
    "did_you_mean",
]


class CalmError(ValueError):
    """An error caused by input. The command line prints it in one piece, without a traceback.

    Args:
        what: what is wrong, as a sentence.
        where: the file, key, sample or option in which it was found.
        allowed: the accepted values, or a sentence that describes them.
        hint: the next step.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        allowed: Iterable[object] | str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what, self.where, self.hint = what, where, hint
        self.allowed = allowed if isinstance(allowed, str | None) else ", ".join(str(a) for a in allowed)
        lines = [what]
        if where is not None:
            lines.append(f"  where:   {where}")
        if self.allowed:
            lines.append(f"  allowed: {self.allowed}")
        if hint:
            lines.append(f"  next:    {hint}")
        super().__init__("\n".join(lines))


class ConfigError(CalmError):
    """A configuration key, name or value that is not accepted."""


class UnknownNameError(ConfigError):
    """A name that is not in the registry, or an option that no group has."""


class InputError(CalmError):
    """An argument of a call or command (text, task, duration, ...) that is not accepted."""


class DataError(CalmError):
    """An audio file, manifest, shard or index that cannot be used."""


class CheckpointError(CalmError):
    """A checkpoint that is missing, damaged, or belongs to another configuration."""


class ConsentError(CalmError):
    """A reference voice without a valid consent record."""


class ProvenanceError(CalmError):
    """A key, a certificate or a record of origin that cannot be used, or does not fit its file."""


class Busy(CalmError):
    """A request that was refused because too many wait already; it may be sent again after ``retry_seconds``."""

    def __init__(self, what: str, *, retry_seconds: float, **rest) -> None:
        super().__init__(what, hint=f"try again in {retry_seconds:.0f} s", **rest)
        self.retry_seconds = retry_seconds


class Closing(CalmError):
    """A request that came while the engine is stopping, or before it was started."""


def did_you_mean(name: str, allowed: Iterable[str]) -> str | None:
    """Return ``Did you mean 'x'?`` for the closest allowed name, or None where nothing is close."""
    close = difflib.get_close_matches(str(name), [str(a) for a in allowed], n=1, cutoff=0.6)
    return f"Did you mean '{close[0]}'?" if close else None
