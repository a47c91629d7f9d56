"""Word errors."""

from __future__ import annotations

import pytest

from calm.errors import InputError
from calm.metrics.words import excess, normalise_words, word_error_rate, word_errors

pytest.importorskip("jiwer", reason='needs `pip install "audiocalm[eval]"`')


def test_spelling_of_numbers_capitals_and_punctuation_do_not_count():
    assert normalise_words("An owl, 12 o'clock!") == normalise_words("a owl twelve O'CLOCK")


def test_substitutions_deletions_and_insertions_count_once_each():
    assert word_errors("the cat sat down", ["the bat sat"]).errors == 2
    assert word_errors("the cat sat", ["oh the cat sat", "the cat sat"]).errors == 0.5


def test_the_rate_is_pooled_over_words():
    errors = [word_errors("one two three four", ["one two three four"]), word_errors("one", ["two"])]
    assert word_error_rate(errors).value == pytest.approx(1 / 5)


def test_the_excess_is_the_paired_difference():
    ours = [word_errors("one two", ["one"]), word_errors("three four", ["three four"])]
    originals = [word_errors("one two", ["one two"]), word_errors("three four", ["three four"])]
    assert excess(ours, originals).value == pytest.approx(1 / 4)
    with pytest.raises(InputError):
        excess(ours, [*originals[:1], word_errors("three", ["three"])])
