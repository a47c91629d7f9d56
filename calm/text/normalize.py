"""Written text -> words as they are spoken, for transcripts that are to be read aloud."""

from __future__ import annotations

import re
import unicodedata

from num2words import CONVERTER_CLASSES, num2words

from calm.errors import InputError, did_you_mean
from calm.text.english import spoken_english

__all__ = ["ended", "normalize", "tidy"]


def normalize(text: str, *, language: str = "en", max_chars: int = 2000, where: object = None) -> str:
    """Spell out numbers, dates, times, currency, units and abbreviations; applying it twice changes nothing more.

    Quotes, punctuation and case are kept. English has all rules (dates month first, as in the United
    States); every other language of num2words has whole numbers only. Captions of sound and music
    need no normalisation: nobody reads them aloud.

    Args:
        text: what is to be said.
        language: code of num2words, for example en, de, fr, es.
        max_chars: longest accepted text, in characters.
        where: name used in messages, for example a file and key.
    Raises InputError for text that is empty, too long or not valid Unicode, and for an unknown language.
    """
    _check_language(language, where)
    text = tidy(text, max_chars=max_chars, where=where)
    spoken = spoken_english(text) if language == "en" else _spoken_integers(text, language)
    return " ".join(spoken.split())


def ended(text: str) -> str:
    """Return a normalised transcript with an end: a full stop where the last character is a letter or a digit.

    Transcripts of the training have one, and a word without it may be followed by anything.
    """
    if not text[-1:].isalnum():
        return text
    return text + ("。" if unicodedata.name(text[-1], "").startswith(("CJK", "HIRAGANA", "KATAKANA")) else ".")


def tidy(text: str, *, max_chars: int = 2000, where: object = None) -> str:
    """Return a prompt in NFC with single spaces, ASCII digits and without control characters.

    Raises InputError for text that is empty, too long or not valid Unicode; arguments as for ``normalize``.
    """
    if len(text) > max_chars:
        raise InputError(
            f"The text has {len(text):,} characters",
            where=where,
            allowed=f"at most {max_chars:,}",
            hint="split it at sentences and generate the pieces one after the other",
        )
    text = _clean(text, where)
    if not any(character.isalnum() for character in text):
        raise InputError("The text is empty: it has no letter and no digit", where=where, hint="give a sentence")
    return text


def _check_language(language: str, where: object) -> None:
    if language not in CONVERTER_CLASSES:
        guess = did_you_mean(language, CONVERTER_CLASSES) or ""
        raise InputError(
            f"Unknown language '{language}'. {guess}".strip(), where=where, allowed=sorted(CONVERTER_CLASSES)
        )


def _clean(text: str, where: object) -> str:
    if any(unicodedata.category(character) == "Cs" for character in text):
        raise InputError("The text is not valid Unicode (it holds a lone surrogate)", where=where, hint="use UTF-8")
    # Format characters (Cf) join letters in some scripts, but speech does not hear them.
    kept = "".join(
        " " if character.isspace() else str(unicodedata.decimal(character)) if character.isdecimal() else character
        for character in text
        if character.isspace() or unicodedata.category(character) not in ("Cc", "Cf", "Co", "Cn")
    )
    return " ".join(unicodedata.normalize("NFC", kept).split())


def _spoken_integers(text: str, language: str) -> str:
    def words(match: re.Match[str]) -> str:
        try:
            spoken = num2words(int(match.group()), lang=language)
        except (NotImplementedError, OverflowError, ValueError, LookupError, TypeError):
            # Beyond the language's largest number: digit by digit.
            spoken = " ".join(num2words(int(digit), lang=language) for digit in match.group())
        before, after = text[: match.start()][-1:], text[match.end() :][:1]
        return f"{' ' if before.isalnum() else ''}{spoken}{' ' if after.isalnum() else ''}"

    return re.sub(r"\d+", words, text)
