"""The tempo that a description names."""

from __future__ import annotations

import re

__all__ = ["named_tempo"]

# Bounded, and never from the middle of a number: a text of digits alone would be searched from each of them to its end.
_TEMPO = re.compile(r"(?<![\d.,])(\d{1,3}(?:\.\d{1,3})?)\s{0,3}(?:bpm|beats (?:per|a) minute)\b", re.IGNORECASE)
#: beats a minute that are taken for a tempo
_SLOWEST, _FASTEST = 20.0, 400.0


def named_tempo(text: str) -> float:
    """Return the first tempo in beats a minute that a text names, or 0: ``"Tempo: 112 BPM."`` -> 112."""
    found = _TEMPO.search(text)
    tempo = float(found.group(1)) if found else 0.0
    return tempo if _SLOWEST <= tempo <= _FASTEST else 0.0
