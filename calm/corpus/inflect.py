"""Regular English inflection for the word lists; irregular forms stand in the lists themselves."""

from __future__ import annotations

import re

__all__ = ["FORMS", "indefinite_article", "inflect"]

FORMS = ("s", "past", "ing")

_VOWELS = "aeiou"
_STRESSED_LAST = ("admit", "begin", "commit", "forget", "prefer", "quit", "refer", "regret")
# Sound, not spelling, decides between "a" and "an".
_CONSONANT_SOUND = re.compile(r"(?:uni(?!n|m)|use|usu|ut|eu|one\b|ewe|uruguay|ugand)", re.IGNORECASE)
_SILENT_H = re.compile(r"(?:hour|honest|honor|heir)", re.IGNORECASE)


def inflect(word: str, form: str) -> str:
    """Return the plural or third person (``s``), the ``past`` or the ``ing`` form of a regular word."""
    return {"s": _with_s, "past": _past, "ing": _ing}[form](word)


def indefinite_article(word: str) -> str:
    """Return ``a`` or ``an``, as the word that follows demands."""
    if _SILENT_H.match(word):
        return "an"
    return "an" if word[0].lower() in _VOWELS and not _CONSONANT_SOUND.match(word) else "a"


def _with_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")) or (word.endswith("o") and word[-2] not in _VOWELS):
        return _doubled_z(word) + "es"
    if word.endswith("y") and word[-2] not in _VOWELS:
        return word[:-1] + "ies"
    return word + "s"


def _past(word: str) -> str:
    if word.endswith("e"):
        return word + "d"
    if word.endswith("y") and word[-2] not in _VOWELS:
        return word[:-1] + "ied"
    return _doubled(word) + "ed"


def _ing(word: str) -> str:
    if word.endswith("ie"):
        return word[:-2] + "ying"
    if word.endswith("e") and not word.endswith(("ee", "oe", "ye")):
        return word[:-1] + "ing"
    return _doubled(word) + "ing"


def _doubled(word: str) -> str:
    """Double the last consonant of a short closed syllable: stop -> stopp, but open -> open."""
    if word in _STRESSED_LAST:
        return word + word[-1]
    closed = re.search(r"[^aeiou][aeiou][^aeiouwxy]$", word) is not None
    return word + word[-1] if closed and len(re.findall(r"[aeiouy]+", word)) == 1 else word


def _doubled_z(word: str) -> str:
    return word + "z" if word == "quiz" else word
