"""Transcript -> phonemes by eSpeak NG, in American English whatever accent the speaker has.

One accent for all is a choice: the words are spelled in one way, and the accent that is heard follows from
the description and the audio. Symbols are those of eSpeak's IPA output, a diphthong or a long vowel in one
piece; a primary stress is part of its vowel ("ˈoʊ"), a secondary one is dropped.
"""

from __future__ import annotations

import ctypes
import re
import unicodedata
from functools import lru_cache

from calm.text.espeak import kept_espeak

__all__ = ["BOUNDARY", "MARKS", "SYMBOLS", "VOICE", "phonemes"]

VOICE = "en-us"
#: between two words that no mark separates
BOUNDARY = " "
#: punctuation that is heard; other marks become the nearest of them
MARKS = (".", "?", ",", "!")

_CONSONANTS = "b d f h j k l m n p s t v w z ð ŋ ɡ ɹ ɾ ʃ ʒ ʔ θ tʃ dʒ n̩ x"
_WEAK_VOWELS = "i ə əl ɚ ɐ ᵻ"
_VOWELS = "aɪ aɪə aɪɚ aʊ eɪ iː iə oʊ uː æ ɑː ɑːɹ ɔ ɔː ɔːɹ ɔɪ ɛ ɛɹ ɜː ɪ ɪɹ ʊ ʊɹ ʌ"
#: everything that `phonemes` returns for common English; rare loans and spelled-out junk may add others
SYMBOLS = (
    BOUNDARY,
    *MARKS,
    *_CONSONANTS.split(),
    *_WEAK_VOWELS.split(),
    *_VOWELS.split(),
    *(f"ˈ{vowel}" for vowel in _VOWELS.split()),
)

# speak_lib.h of eSpeak NG 1.52: IPA in bit 1, and a separator of phonemes in bits 8 to 23
_SEPARATOR = "_"
_IPA_SEPARATED = 2 | ord(_SEPARATOR) << 8
_CHARS_UTF8 = 1

# A mark inside a number or a word (3.14, o'clock, well-known) is none; dashes need spaces or a long form.
_MARK = re.compile(r"""([.?!,;:…]+(?=[\s"'”’)\]]|$)|\s-+\s|[—–]+)""")
_SPOKEN_AS = {".": ".", "…": ".", "?": "?", "!": "!"}
_LANGUAGE_SWITCH = re.compile(r"\([a-z-]+\)")


@lru_cache(maxsize=2**14)
def phonemes(transcript: str) -> tuple[str, ...]:
    """Return symbols, marks and word boundaries of a whole transcript (words change in context: "the", "to").

    A clause that holds letters other than Latin ones, or that eSpeak does not say, comes back as its text;
    one without a letter or digit is silent.
    Raises DataError where eSpeak NG is missing.
    """
    symbols: list[str] = []
    for number, piece in enumerate(_MARK.split(transcript)):
        if number % 2:
            symbols += _mark(piece, after=symbols)
        elif piece.strip():
            said = _clause(piece)
            symbols += [BOUNDARY, *said] if said and symbols and symbols[-1] not in MARKS else said
    return tuple(symbols)


def _mark(written: str, *, after: list[str]) -> list[str]:
    """One mark of what may be several, at most one after each clause."""
    mark = _SPOKEN_AS.get(written.strip()[0], ",")
    return [mark] if after and after[-1] not in MARKS else []


def _clause(text: str) -> list[str]:
    if not any(character.isalnum() for character in text):
        return []
    foreign = any(c.isalpha() and not unicodedata.name(c, "").startswith("LATIN") for c in text)
    words = [] if foreign else " ".join(_ask(text)).split()
    symbols = [[symbol.replace("ˌ", "") for symbol in word.split(_SEPARATOR) if symbol] for word in words]
    said = [symbol for word in symbols if word for symbol in (BOUNDARY, *word)][1:]
    return said or [text.strip()]


def _ask(text: str) -> list[str]:
    """Return eSpeak's clauses as it writes them: symbols separated by ``_``, words by spaces."""
    # The library reads up to the first zero.
    rest = ctypes.c_char_p(text.replace("\0", " ").encode())
    clauses = []
    with kept_espeak(VOICE) as library:
        convert = library.espeak_TextToPhonemes
        convert.restype = ctypes.c_char_p
        convert.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
        while rest.value is not None:
            said = convert(ctypes.byref(rest), _CHARS_UTF8, _IPA_SEPARATED)
            clauses.append(_LANGUAGE_SWITCH.sub("", said.decode("utf-8", errors="replace")))
    return clauses
