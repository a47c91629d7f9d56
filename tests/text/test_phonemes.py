from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calm.corpus.espeak import Espeak
from calm.errors import DataError
from calm.text.phonemes import BOUNDARY, MARKS, SYMBOLS, phonemes

SENTENCES = ["Hello, world!", "The water of the house is warm.", "Where to? I go to read the news."]
VOICE = {"accent": "en-US", "variant": "f1", "words_per_minute": 170, "pitch": 50, "pitch_range": 50}


def said(transcript: str) -> str:
    return " ".join("|" if symbol == BOUNDARY else symbol for symbol in phonemes(transcript))


def test_a_sentence_becomes_phonemes_word_boundaries_and_marks() -> None:
    assert said("Hello, world!") == "h ə l ˈoʊ , w ˈɜː l d !"
    assert said("Did the magpie crawl?") == "d ˈɪ d | ð ə | m ˈæ ɡ p aɪ | k ɹ ˈɔː l ?"


def test_words_are_said_in_their_context() -> None:
    assert said("the old man") != said("the new man").replace("n ˈuː", "ˈoʊ l d")
    assert said("I read it") != said("I have read it").replace("h æ v | ", "")


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("wait - no", "wait, no"),
        ("wait—no", "wait, no"),
        ("wait; no: yes…", "wait, no, yes."),
        ("Really?! Yes...", "Really? Yes."),
        ('He said "no", twice.', "He said no, twice."),
        ("  Hello\n world ", "hello world"),
        ("...Hello", "Hello"),
    ],
)
def test_marks_that_sound_alike_are_one(written: str, same: str) -> None:
    assert phonemes(written) == phonemes(same)


def test_marks_inside_words_and_numbers_are_none() -> None:
    assert not set(phonemes("a well-known o'clock 3.14 thing")) & set(MARKS)


def test_english_words_need_no_symbol_beyond_the_list() -> None:
    text = "The quick brown fox jumps over the lazy dog while a joyful vision of azure boys poured through our cheerful church."
    assert set(phonemes(text)) <= set(SYMBOLS) and len(set(SYMBOLS)) == len(SYMBOLS)


def test_other_scripts_come_back_as_text_clause_by_clause() -> None:
    assert phonemes("Hello, мир 日本!") == (*phonemes("Hello,"), "мир 日本", "!")


@pytest.mark.parametrize("silent", ["", "  ", "...", "\0", "( )", "😀"])
def test_what_has_no_letter_has_no_phonemes(silent: str) -> None:
    assert phonemes(silent) == ()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(max_size=30))
def test_any_text_has_phonemes_without_empty_symbols(text: str) -> None:
    assert all(phonemes(text)) and not {"ˈ", "_"} & set(phonemes(text))


def test_phonemes_do_not_depend_on_what_was_asked_before() -> None:
    first = [phonemes.__wrapped__(text) for text in SENTENCES]
    assert [phonemes.__wrapped__(text) for text in reversed(SENTENCES)] == first[::-1]


def test_phonemes_and_rendering_leave_each_other_alone() -> None:
    espeak = Espeak()
    first = espeak.render(SENTENCES[1], **VOICE)
    asked = [phonemes.__wrapped__(text) for text in SENTENCES]
    assert np.array_equal(espeak.render(SENTENCES[1], **VOICE), first)
    espeak.render(SENTENCES[0], **{**VOICE, "accent": "en-GB-scotland", "variant": "m3"})
    assert [phonemes.__wrapped__(text) for text in SENTENCES] == asked
    assert np.array_equal(espeak.render(SENTENCES[1], **VOICE), first)


def test_threads_may_ask_and_render_at_once() -> None:
    espeak, expected = Espeak(), phonemes(SENTENCES[1])
    first = espeak.render(SENTENCES[0], **VOICE)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(phonemes.__wrapped__, SENTENCES[1]) for _ in range(20)]
        rendered = [pool.submit(Espeak().render, SENTENCES[0], **VOICE) for _ in range(3)]
        assert all(future.result() == expected for future in asked)
        assert all(np.array_equal(future.result(), first) for future in rendered)


def test_a_missing_package_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # Leaves the kept library, which needs the package no more.
    Espeak().render("Hello.", **VOICE)
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(DataError, match="pip install espeakng-loader"):
        phonemes.__wrapped__("Hello.")
