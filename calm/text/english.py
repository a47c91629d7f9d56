"""Spoken English: an ordered table of patterns, each with the words it becomes.

Dates and times come before ranges, ranges before units, units before bare numbers: every rule leaves
the digits that it does not understand to the ones after it, and the last rule leaves none.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable

from num2words import num2words

from calm.text import english_words as table

__all__ = ["spoken_english"]

NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
MONTH_NAMES = "|".join([*calendar.month_name[1:], *(rf"{name}\.?" for name in table.MONTHS)])
Match = re.Match[str]


def spoken_english(text: str) -> str:
    """Apply every rule once, in order. The result holds no digit."""
    for pattern, words in _RULES:
        text = pattern.sub(words, text)
    return text


def _cardinal(number: str) -> str:
    """Return the words of ``1,234.50``; leading zeros and very long numbers are read digit by digit."""
    whole, _, fraction = number.replace(",", "").partition(".")
    if len(whole) > 15 or (len(whole) > 1 and whole.startswith("0")):
        words = _digits(whole)
    else:
        words = num2words(int(whole or 0)).replace(",", "")
    return f"{words} point {_digits(fraction)}" if fraction else words


def _digits(digits: str) -> str:
    return " ".join(num2words(int(digit)) for digit in digits)


def _ordinal(number: str) -> str:
    value = int(number.replace(",", ""))
    return num2words(value, to="ordinal").replace(",", "") if value < 10**15 else _cardinal(number)


def _year(number: str) -> str:
    return num2words(int(number), to="year").replace("oh-", "oh ").replace(",", "")


def _plural(words: str) -> str:
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return f"{words}es" if words.endswith(("x", "s")) else f"{words}s"


def _spaced(match: Match, words: str) -> str:
    """Put spaces where ``words`` would touch a letter or digit: 3D, MP3."""
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    return f"{' ' if before.isalnum() else ''}{words}{' ' if after.isalnum() else ''}"


def _stop(match: Match) -> str:
    """Return the full stop that an abbreviation at the end of a sentence shares with it."""
    ends = re.match(r"[\"”’')\]]*(?:$|\s+[\"“‘']?[A-Z])", match.string[match.end() :])
    return "." if match.group().endswith(".") and ends else ""


def _month(name: str) -> str:
    return table.MONTHS.get(name.rstrip("."), name)


def _date(month: int, day: int, year: str) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return f"{calendar.month_name[month]} {_ordinal(str(day))}, {_year(year)}"


def _iso_date(match: Match) -> str:
    return _date(int(match[2]), int(match[3]), match[1]) or match.group()


def _slash_date(match: Match) -> str:
    first, second = int(match[1]), int(match[2])
    year = match[3] if len(match[3]) == 4 else f"{'20' if int(match[3]) < 50 else '19'}{match[3]}"
    # Month first, unless only the other order is a date.
    return _date(first, second, year) or _date(second, first, year) or match.group()


def _month_day(match: Match) -> str:
    year = f", {_year(match[3])}" if match[3] else ""
    return f"{_month(match[1])} {_ordinal(match[2])}{year}" if 1 <= int(match[2]) <= 31 else match.group()


def _day_month(match: Match) -> str:
    year = f" {_year(match[3])}" if match[3] else ""
    return f"the {_ordinal(match[1])} of {_month(match[2])}{year}" if 1 <= int(match[1]) <= 31 else match.group()


def _time(match: Match) -> str:
    hour, minute, second, half = int(match[1]), match[2], match[3], match[4]
    if hour > 24:
        return match.group()
    words = [_cardinal(str(hour))]
    if minute and minute != "00":
        words.append(f"oh {_cardinal(minute[1])}" if minute.startswith("0") else _cardinal(minute))
    elif not half and not second:
        words.append("o'clock" if 1 <= hour <= 12 else "hundred hours")
    if second:
        words.append(f"and {_cardinal(str(int(second)))} second{'' if int(second) == 1 else 's'}")
    if half:
        words.append(f"{half.lower()} m")
    return _spaced(match, " ".join(words)) + (_stop(match) if half else "")


def _currency(match: Match) -> str:
    one, many, small_one, small_many = table.CURRENCIES[match[1]]
    scale = table.SCALES.get(match[3] or "", match[3])
    whole, _, fraction = match[2].replace(",", "").partition(".")
    if scale:
        words = f"{_cardinal(match[2])} {scale} {many}"
    elif len(fraction) == 2 and small_one:
        parts = [(int(whole or 0), one, many), (int(fraction), small_one, small_many)]
        spoken = [f"{_cardinal(str(value))} {a if value == 1 else b}" for value, a, b in parts if value]
        words = " and ".join(spoken) or f"zero {many}"
    else:
        words = f"{_cardinal(match[2])} {one if match[2] == '1' else many}"
    return _spaced(match, words)


def _unit(match: Match) -> str:
    one, many = table.UNITS[match[2]]
    return _spaced(match, f"{_cardinal(match[1])} {one if match[1] == '1' else many}")


def _fraction(match: Match) -> str:
    whole, top, bottom = match[1], int(match[2]), int(match[3])
    name = table.DENOMINATORS.get(bottom)
    if name is None or not 0 < top < bottom:
        return f"{match[1] or ''} {match[2]} slash {match[3]}"
    if whole and top == 1:
        words = f"{'an' if name.startswith('e') else 'a'} {name}"
    else:
        words = f"{_cardinal(str(top))} {name if top == 1 else 'halves' if name == 'half' else _plural(name)}"
    return _spaced(match, f"{_cardinal(whole)} and {words}" if whole else words)


def _phone(match: Match) -> str:
    groups = re.findall(r"\d+", match.group())
    return ("plus " if match.group().startswith("+") else "") + ", ".join(_digits(group) for group in groups)


def _abbreviation(match: Match) -> str:
    return table.ABBREVIATIONS[match[1]] + _stop(match)


def _before_name(with_name: str, without: str) -> Callable[[Match], str]:
    """Dr. and St. are titles before a name, and streets after one."""

    def words(match: Match) -> str:
        title = re.match(r"\s+[A-Z]", match.string[match.end() :]) and not re.search(
            r"[A-Z][a-z]+ $", match.string[: match.start()]
        )
        return with_name if title else without + _stop(match)

    return words


def _either(names: dict[str, str] | dict[str, tuple[str, str]]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


_HALF = r"([apAP])(?:\.\s?[mM]\.|[mM]\b)"
_NO_SPACE_BEFORE_PUNCTUATION = (r"\s+(?=[,;:!?.](?:\s|$))", "")
_RULES: list[tuple[re.Pattern[str], str | Callable[[Match], str]]] = [
    (re.compile(pattern), words)
    for pattern, words in [
        # First as well as last, or tidying would make new abbreviations: "Mr ." is "Mr." from the start.
        _NO_SPACE_BEFORE_PUNCTUATION,
        (rf"(\d?)([{''.join(table.FRACTION_SIGNS)}])", lambda m: f"{m[1]} {table.FRACTION_SIGNS[m[2]]} "),
        (r"(?<![\w.:])(\d{4})-(\d{2})-(\d{2})(?![\w-])", _iso_date),
        (r"(?<![\w./])(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})(?![\w/])", _slash_date),
        (
            rf"\b({MONTH_NAMES})\s+(\d{{1,2}})(?:st|nd|rd|th)?(?!\d|[.,:/]\d|\s?%)(?:,?\s+(\d{{4}}))?\b(?![:,]\d)",
            _month_day,
        ),
        (
            rf"\b(?:the\s+)?(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({MONTH_NAMES})(?!\w)(?:,?\s+(\d{{4}})\b)?",
            _day_month,
        ),
        (rf"(?<![\w.:])(\d{{1,2}}):([0-5]\d)(?::([0-5]\d))?(?![\d:])(?:\s?{_HALF})?", _time),
        (rf"(?<![\w.:,])(\d{{1,2}})()()\s?{_HALF}", _time),
        (r"(?<![^\W\d])([apAP])\.\s?[mM]\.", lambda m: _spaced(m, f"{m[1].lower()} m") + _stop(m)),
        (r"\b(\d{3}0)['’]?s\b", lambda m: _plural(_year(m[1]))),
        (r"['’](\d0)s\b", lambda m: _plural(_cardinal(m[1]))),
        (r"(?<![\w-])\+?(?:\d{1,3}[ -])?(?:\(\d{3}\) ?|\d{3}[-. ])?\d{3}-\d{4}(?![\w-])", _phone),
        (r"(?<=\d)\s?–\s?(?=\d)|(?<=\d)-(?=\d)", " to "),
        (rf"([{re.escape(''.join(table.CURRENCIES))}])\s?({NUMBER})(?:\s?({_either(table.SCALES)})\b)?", _currency),
        (rf"({NUMBER})\s?({_either(table.UNITS)})(?!\w)", _unit),
        (r"\b(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", lambda m: _spaced(m, _ordinal(m[1]))),
        (r"(?:\b(\d+)\s+)?(?<![\d/])(\d+)/(\d+)(?![\d/])", _fraction),
        (r"(?<=\d)/(?=\d)", " slash "),
        (r"(?:#\s?|\bN[or]s?\.\s?|\bno\.\s?)(?=\d)", "number "),
        (r"\d+(?:\.\d+){2,}", lambda m: _spaced(m, " point ".join(map(_cardinal, m.group().split("."))))),
        (r"(?<=\d)\s*([+=×÷])\s*(?=\d)", lambda m: f" {table.OPERATORS[m[1]]} "),
        (r"±\s?(?=\.?\d)", " plus or minus "),
        (r"(?<![\w)])[-−](?=\.?\d)", "minus "),
        (r"\+(?=\.?\d)", " plus "),
        (r"(?<![\w.,])(1[1-9]\d\d|20\d\d)(?![\w]|[.,]\d)", lambda m: _year(m[1])),
        (rf"({NUMBER})['’]?s\b", lambda m: _spaced(m, _plural(_cardinal(m[1])))),
        (NUMBER, lambda m: _spaced(m, _cardinal(m.group()))),
        (r"\s?([&@%°])\s?", lambda m: f" {table.SIGNS[m[1]]} "),
        (r"\bDr\.", _before_name("Doctor", "Drive")),
        (r"\bSt\.", _before_name("Saint", "Street")),
        (r"\bDr(?=\s+[A-Z])", "Doctor"),
        (r"\b(Mr|Mrs|Ms)(?=\s+[A-Z])", lambda m: table.TITLES[f"{m[1]}."]),
        (rf"(?<![\w.])({_either(table.TITLES)})", lambda m: table.TITLES[m[1]]),
        (rf"(?<![\w.])({_either(table.ABBREVIATIONS)})", _abbreviation),
        (rf"\b({'|'.join(table.MONTHS)})\.", lambda m: _month(m[1]) + _stop(m)),
        _NO_SPACE_BEFORE_PUNCTUATION,
    ]
]
