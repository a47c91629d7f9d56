"""The grammar, its words, and the split that a text belongs to."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from calm.corpus.inflect import indefinite_article, inflect
from calm.corpus.sentences import SPLITS, draw_text, load_grammar, split_of
from calm.errors import InputError


def _sentences(num: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [load_grammar().sentence(rng) for _ in range(num)]


def test_more_than_three_thousand_words_can_be_reached():
    assert len(load_grammar().vocabulary()) >= 3_000


def test_more_than_three_thousand_words_are_in_fact_drawn():
    words = {word.strip(".,?").lower() for sentence in _sentences(6_000) for word in sentence.split()}
    assert len(words) >= 3_000
    assert words <= load_grammar().vocabulary() | {"an"}


def test_every_sentence_is_whole():
    for sentence in _sentences(500):
        assert sentence[0].isupper() and sentence[-1] in ".?"
        assert 2 <= len(sentence.split()) <= 18
        assert not set(sentence) & set("<>|_=")


def test_length_range_and_split_are_obeyed():
    rng = np.random.default_rng(0)
    for split in SPLITS:
        for _ in range(20):
            text = draw_text(lambda: load_grammar().sentence(rng), split=split, words=(4, 6))
            assert 4 <= len(text.split()) <= 6
            assert split_of(text) == split


def test_an_impossible_length_is_one_clear_error():
    with pytest.raises(InputError, match="No sentence of 40 to 50 words"):
        draw_text(lambda: "Too short.", split="train", words=(40, 50))


def test_the_split_of_a_text_depends_on_its_words_alone():
    for sentence in _sentences(100):
        assert split_of(sentence) == split_of(sentence.upper()) == split_of(sentence.rstrip(".?"))


def test_nine_texts_in_ten_belong_to_training():
    shares = Counter(split_of(sentence) for sentence in set(_sentences(4_000)))
    total = sum(shares.values())
    assert shares["train"] / total == pytest.approx(0.9, abs=0.02)
    assert shares["validation"] / total == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(
    ("word", "form", "expected"),
    [
        ("box", "s", "boxes"),
        ("cherry", "s", "cherries"),
        ("key", "s", "keys"),
        ("stop", "past", "stopped"),
        ("open", "past", "opened"),
        ("carry", "past", "carried"),
        ("bake", "ing", "baking"),
        ("tie", "ing", "tying"),
        ("forget", "ing", "forgetting"),
        ("agree", "ing", "agreeing"),
    ],
)
def test_regular_words_are_inflected(word: str, form: str, expected: str):
    assert inflect(word, form) == expected


@pytest.mark.parametrize(
    ("word", "article"),
    [("apple", "an"), ("hour", "an"), ("uniform", "a"), ("umbrella", "an"), ("unit", "a"), ("dog", "a")],
)
def test_the_article_follows_the_sound(word: str, article: str):
    assert indefinite_article(word) == article
