"""What every metric asks of a clip before it listens: finite values, a length, something to hear."""

from __future__ import annotations

import math

from calm.metrics.base import Trial, Unscored
from calm.types import Waveform

__all__ = ["SILENT_PEAK", "check_clip", "check_finite", "is_silent", "log_number", "require"]

#: a clip whose largest magnitude is lower (-80 dBFS) is silent
SILENT_PEAK = 1e-4


def check_clip(clip: Waveform, *, where: object, min_seconds: float, what: str = "clip") -> None:
    """Raise Unscored where a clip has values that are not finite, is too short, or silent."""
    check_finite(clip, where=where, what=what)
    if clip.seconds < min_seconds:
        raise Unscored(f"The {what} has {clip.seconds:.2f} s, fewer than {min_seconds:g} s", where=where)
    if is_silent(clip):
        raise Unscored(f"The {what} is silent", where=where)


def check_finite(clip: Waveform, *, where: object, what: str = "clip") -> None:
    """Raise Unscored where a clip has values that are not finite."""
    if not bool(clip.audio.isfinite().all()):
        raise Unscored(f"The {what} holds a value that is not finite", where=where)


def is_silent(clip: Waveform) -> bool:
    """Whether there is nothing to hear: no sample, or none above -80 dBFS."""
    return clip.audio.numel() == 0 or float(clip.audio.abs().max()) < SILENT_PEAK


def require(trial: Trial, name: str) -> Waveform:
    """The ``reference`` or ``target`` of a trial. Raises Unscored where there is none."""
    clip: Waveform | None = getattr(trial, name)
    if clip is None:
        raise Unscored(f"The item has no {name} clip", where=trial.item.id)
    return clip


def log_number(trial: Trial, key: str) -> float | None:
    """A finite number of at least 0 that the system wrote down, or None."""
    value = trial.log.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) and value >= 0 else None
