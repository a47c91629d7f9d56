from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calm.errors import InputError
from calm.text import ended, normalize

TABLE = [
    # cardinals, decimals, signs
    ("I have 21 cats", "I have twenty-one cats"),
    ("1,234,567 people", "one million two hundred and thirty-four thousand five hundred and sixty-seven people"),
    ("pi is 3.14, or 2.50", "pi is three point one four, or two point five zero"),
    ("agent 007", "agent zero zero seven"),
    ("it is -5 outside", "it is minus five outside"),
    ("3 + 4 = 7", "three plus four equals seven"),
    ("No. 7 and #3", "number seven and number three"),
    ("version 1.2.3", "version one point two point three"),
    ("10-15 people", "ten to fifteen people"),
    # ordinals, fractions
    ("the 21st and the 2nd", "the twenty-first and the second"),
    ("1/2 cup, 1 1/2 cups, ¾", "one half cup, one and a half cups, three quarters"),
    ("open 24/7", "open twenty-four slash seven"),
    # letters beside digits
    ("3D audio enabled", "three D audio enabled"),
    ("MP3 and COVID-19", "MP three and COVID-nineteen"),
    # years, decades, dates
    ("in 1905, 1999 and 2024", "in nineteen oh five, nineteen ninety-nine and twenty twenty-four"),
    ("the 1990s and the '80s", "the nineteen nineties and the eighties"),
    ("on March 5, 2024.", "on March fifth, twenty twenty-four."),
    ("on Mar. 5th", "on March fifth"),
    ("on 5 March 2024", "on the fifth of March twenty twenty-four"),
    ("the 4th of July", "the fourth of July"),
    ("2024-03-05", "March fifth, twenty twenty-four"),
    ("3/5/24 or 25/12/2023", "March fifth, twenty twenty-four or December twenty-fifth, twenty twenty-three"),
    # times
    ("at 3:05 p.m. today", "at three oh five p m today"),
    ("at 14:30 or 10:00", "at fourteen thirty or ten o'clock"),
    ("come at 5pm.", "come at five p m."),
    ("He came at 5 p.m. She left.", "He came at five p m. She left."),
    # currency
    ("$3.50 and $0.05", "three dollars and fifty cents and five cents"),
    ("£1, €20 and ¥100", "one pound, twenty euros and one hundred yen"),
    ("$1.5 million", "one point five million dollars"),
    # units
    ("1 km at 70 mph", "one kilometer at seventy miles per hour"),
    ("20°C is 68 °F", "twenty degrees Celsius is sixty-eight degrees Fahrenheit"),
    ("50% at 16 kHz", "fifty percent at sixteen kilohertz"),
    ("10-15 km", "ten to fifteen kilometers"),
    # telephone
    ("call 555-1234", "call five five five, one two three four"),
    # abbreviations
    ("Dr. Lee and Mr Jones vs. Mrs. Smith", "Doctor Lee and Mister Jones versus Missus Smith"),
    ("St. John lives on Main St. near Sunset Dr.", "Saint John lives on Main Street near Sunset Drive."),
    ("apples, pears, etc.", "apples, pears, et cetera."),
    ("fruit, e.g. pears", "fruit, for example pears"),
    ("AT&T", "AT and T"),
    # nothing to do
    ('"Don\'t!" she said - twice; why?', '"Don\'t!" she said - twice; why?'),
    ("“Quoted” and (bracketed), café…", "“Quoted” and (bracketed), café…"),
    ("  too \t many\nspaces ", "too many spaces"),
]


@pytest.mark.parametrize(("written", "spoken"), TABLE)
def test_written_text_becomes_spoken_text(written: str, spoken: str) -> None:
    assert normalize(written) == spoken


@pytest.mark.parametrize("written", [written for written, _ in TABLE])
def test_a_second_pass_changes_nothing(written: str) -> None:
    once = normalize(written)
    assert normalize(once) == once


NUMERALS = ["23", "0", "1999", "007", "1", "½", "٣", "555-1234"]
MARKS = [*".,:-–/$£%+=±()#&@'\" ", "°C", "\n", "  "]
WORDS = [
    "st",
    "th",
    " s",
    "'s",
    "km",
    "m",
    "kHz",
    "a.m.",
    "pm",
    "Dr.",
    "St.",
    "etc.",
    "vs.",
    "Mr",
    "No. ",
    "Jan",
    "Mar.",
]
LETTERS = ["A", "b", "é", "k", "x", "of", "the", "March", "million", "e.g."]
PIECES = [*NUMERALS, *MARKS, *WORDS, *LETTERS]


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map("".join) | st.text(max_size=40))
def test_any_text_is_refused_or_becomes_speakable_in_one_pass(text: str) -> None:
    try:
        once = normalize(text)
    except InputError:
        return
    assert not any(character.isdecimal() for character in once)
    assert normalize(once) == once


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "...", "\u200b", "— “ ”"])
def test_text_without_a_letter_or_digit_is_empty(text: str) -> None:
    with pytest.raises(InputError, match="empty"):
        normalize(text)


def test_text_that_is_too_long_says_the_limit_and_what_to_do() -> None:
    with pytest.raises(InputError, match=r"(?s)2,001 characters.*at most 2,000.*split it at sentences"):
        normalize("a" * 2001, where="line 3")
    assert normalize("a" * 2001, max_chars=3000) == "a" * 2001


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InputError, match="not valid Unicode"):
        normalize("caf\udce9")


def test_invisible_characters_and_decomposed_accents_are_made_plain() -> None:
    assert normalize("ca\u0301fe\u200b\x07 \u0665") == "cáfe five"


def test_other_languages_say_their_whole_numbers() -> None:
    assert normalize("Es sind 21 Leute, 3D.", language="de") == "Es sind einundzwanzig Leute, drei D."
    assert normalize("71 personnes", language="fr") == "soixante et onze personnes"


def test_an_unknown_language_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"(?s)Unknown language 'dee'.*allowed.*de"):
        normalize("hello", language="dee")


def test_huge_numbers_are_read_digit_by_digit() -> None:
    assert normalize("9" * 40).split() == ["nine"] * 40
    assert normalize("9" * 4000, language="de", max_chars=5000).startswith("neun")


@pytest.mark.parametrize(
    ("text", "spoken"),
    [("hello", "hello."), ("Hello.", "Hello."), ("Really?", "Really?"), ('"Yes"', '"Yes"'), ("one two", "one two."), ("你好", "你好。")],
)
def test_a_transcript_without_an_end_gets_one(text: str, spoken: str) -> None:
    assert ended(text) == spoken
