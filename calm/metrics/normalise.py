"""Normalisers of transcripts by name: figures under different ones do not compare, so each result file names its own."""

from __future__ import annotations

import functools
import importlib.metadata
import string
from collections.abc import Callable
from typing import Any, Literal

from calm.errors import ConfigError, did_you_mean
from calm.metrics.words import normalise_words
from calm.scorers.optional import need

__all__ = ["Normaliser", "describe_normaliser", "find_normaliser", "normalise_seed_tts"]

Normaliser = Literal["seed_tts", "ours", "whisper"]

#: first and last code points of the marks that zhon.hanzi.punctuation lists
_HAN_MARKS = (
    (0x00B7, 0x00B7), (0x2013, 0x2014), (0x2018, 0x2019), (0x201B, 0x201F), (0x2026, 0x2027), (0x3000, 0x3003),
    (0x3008, 0x3011), (0x3014, 0x301F), (0x3030, 0x3030), (0x303E, 0x303F), (0xFE4F, 0xFE4F), (0xFE51, 0xFE51),
    (0xFE54, 0xFE54), (0xFF01, 0xFF0F), (0xFF1A, 0xFF20), (0xFF3B, 0xFF40), (0xFF5B, 0xFF64),
)  # fmt: skip
_HAN = "".join(chr(code) for first, last in _HAN_MARKS for code in range(first, last + 1))
#: deleted, not replaced by a space: "well-known" is one word. The typographic apostrophe goes, the ASCII one stays.
_DELETED = str.maketrans("", "", (string.punctuation + _HAN).replace("'", ""))


def normalise_seed_tts(text: str) -> str:
    """English transcripts as Seed-TTS-eval has them: ASCII and Chinese marks deleted but for ``'``, lower case.

    Source: run_wer.py of BytedanceSpeech/seed-tts-eval. Numbers stay as they are written. Spaces are single; the
    protocol's own replacement leaves some double ones, which do not count as words.
    """
    return " ".join(text.translate(_DELETED).lower().split())


def find_normaliser(name: str) -> Callable[[str], str]:
    """Return the function from text to normal text.

    ``seed_tts``: see `normalise_seed_tts`. ``ours``: words alone, numbers spelt out (`calm.metrics.words`).
    ``whisper``: the English normaliser of OpenAI Whisper (Radford et al., 2022, appendix C) by whisper-normalizer.
    Raises ConfigError for other names, and where that package is missing.
    """
    if name == "whisper":
        return _whisper()
    known = {"seed_tts": normalise_seed_tts, "ours": normalise_words}
    if name not in known:
        guess = did_you_mean(name, [*known, "whisper"]) or ""
        raise ConfigError(f"Unknown normaliser '{name}'. {guess}".strip(), where="normaliser", allowed=[*known, "whisper"])
    return known[name]


def describe_normaliser(name: str) -> dict[str, Any]:
    """The normaliser as JSON values, for result files."""
    if name == "whisper":
        return {"name": name, "package": "whisper-normalizer", "version": importlib.metadata.version("whisper-normalizer")}
    return {"name": name}


@functools.lru_cache(maxsize=1)
def _whisper() -> Callable[[str], str]:
    module = need("whisper_normalizer.english", package="whisper-normalizer")
    normalise: Callable[[str], str] = module.EnglishTextNormalizer()
    return normalise
