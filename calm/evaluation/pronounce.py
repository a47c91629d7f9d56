"""Pronunciations of English words: the CMU dictionary of the recogniser, and inflections and compounds of its words."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from calm.scorers.optional import need

__all__ = ["load_dictionary", "pronounce"]

Dictionary = Mapping[str, tuple[str, ...]]
_SIBILANTS = {"S", "Z", "SH", "ZH", "CH", "JH"}
_VOICELESS = {"P", "T", "K", "F", "TH", "S", "SH", "CH"}
_MIN_PART = 3


def model_folder() -> Path:
    """The acoustic model and dictionary that pocketsphinx ships."""
    return Path(need("pocketsphinx").get_model_path()) / "en-us"


@functools.cache
def load_dictionary() -> Dictionary:
    """Read the dictionary: word -> pronunciations in ARPAbet, the usual one first."""
    found: dict[str, tuple[str, ...]] = {}
    for line in (model_folder() / "cmudict-en-us.dict").read_text(encoding="utf-8").splitlines():
        word, phones = line.split(maxsplit=1)
        word = word.partition("(")[0]
        found[word] = (*found.get(word, ()), phones)
    return found


def pronounce(word: str, dictionary: Dictionary) -> tuple[str, ...]:
    """Pronunciations of a word; those of an inflected or compound word follow from its parts. Empty where unknown."""
    return dictionary.get(word) or _inflected(word, dictionary) or _compound(word, dictionary)


def _inflected(word: str, dictionary: Dictionary) -> tuple[str, ...]:
    for suffix, ending in (("s", _plural), ("d", _past), ("ing", lambda phones: f"{phones} IH NG")):
        for stem in _stems(word, suffix):
            if stem in dictionary:
                return tuple(ending(phones) for phones in dictionary[stem])
    return ()


def _stems(word: str, suffix: str) -> list[str]:
    """Words of which ``word`` may be an inflection: mends, boxes, dragonflies, prowled, hummed, mashing, unwraped."""
    if suffix == "s":
        ends = [("s", ""), ("es", ""), ("ies", "y")]
    elif suffix == "d":
        ends = [("ed", ""), ("ed", "e"), ("ied", "y")]
    else:
        ends = [("ing", ""), ("ing", "e")]
    stems = [word[: -len(end)] + new for end, new in ends if word.endswith(end) and len(word) - len(end) >= 2]
    doubled = [stem[:-1] for stem in stems if len(stem) > 3 and stem[-1] == stem[-2]]
    return stems + doubled


def _plural(phones: str) -> str:
    last = phones.split()[-1]
    return f"{phones} IH Z" if last in _SIBILANTS else f"{phones} S" if last in _VOICELESS else f"{phones} Z"


def _past(phones: str) -> str:
    last = phones.split()[-1]
    return f"{phones} IH D" if last in ("T", "D") else f"{phones} T" if last in _VOICELESS else f"{phones} D"


def _compound(word: str, dictionary: Dictionary) -> tuple[str, ...]:
    for cut in range(len(word) - _MIN_PART, _MIN_PART - 1, -1):
        first = dictionary.get(word[:cut])
        second = dictionary.get(word[cut:]) or (first and _inflected(word[cut:], dictionary))
        if first and second:
            return (f"{first[0]} {second[0]}",)
    return ()
