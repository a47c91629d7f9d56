"""Normalisers by name, and WER under them."""

from __future__ import annotations

import string

import numpy as np
import pytest

from calm.errors import ConfigError
from calm.metrics.normalise import describe_normaliser, find_normaliser, normalise_seed_tts
from calm.metrics.words import word_errors
from tests.metrics.gloo_worker import WER

WORDS = ("the", "a", "cat", "don't", "sat", "12", "mat", "on", "well", "house")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello,  World! It's me.", "hello world it's me"),
        ("a well-known “place” – 12 o'clock…", "a wellknown place 12 o'clock"),
        ("don’t, don't", "dont don't"),
        ("（全角）。 · OK", "全角 ok"),
        (" ?! ", ""),
    ],
)
def test_seed_tts_deletes_marks_but_for_the_ascii_apostrophe(text, expected):
    assert normalise_seed_tts(text) == expected


def test_seed_tts_deletes_what_pythons_punctuation_lists_one_by_one():
    rng = np.random.default_rng(0)
    letters = string.ascii_letters + string.digits + string.punctuation + "   "
    for _ in range(200):
        text = expected = "".join(rng.choice(list(letters), 40))
        for mark in string.punctuation:
            expected = expected if mark == "'" else expected.replace(mark, "")
        assert normalise_seed_tts(text).split() == expected.lower().split()


def test_ours_spells_numbers_and_whispers_spells_alike():
    assert find_normaliser("ours")("12 owls") == "twelve owls"
    pytest.importorskip("whisper_normalizer", reason='needs `pip install "audiocalm[eval]"`')
    normalise = find_normaliser("whisper")
    assert normalise("The colour, twenty one!") == normalise("the color 21")
    assert describe_normaliser("whisper")["version"]
    assert describe_normaliser("seed_tts") == {"name": "seed_tts"}


def test_an_unknown_normaliser_is_named_with_the_known():
    with pytest.raises(ConfigError, match="Did you mean 'seed_tts'"):
        find_normaliser("seedtts")


def edits(first: list[str], second: list[str]) -> int:
    """Levenshtein's distance of two lists of words."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        left = [i]
        for j, b in enumerate(second, start=1):
            left.append(min(row[j] + 1, left[-1] + 1, row[j - 1] + (a != b)))
        row = left
    return row[-1]


@pytest.mark.parametrize("name", ["seed_tts", "ours"])
def test_both_rates_equal_jiwers_and_levenshteins_on_random_lists(name):
    jiwer = pytest.importorskip("jiwer", reason='needs `pip install "audiocalm[eval]"`')
    rng = np.random.default_rng(1)
    pairs = [(" ".join(rng.choice(WORDS, rng.integers(1, 9))), " ".join(rng.choice(WORDS, rng.integers(0, 9)))) for _ in range(60)]
    normalise, metric = find_normaliser(name), WER()
    for n, (reference, hypothesis) in enumerate(pairs):
        found = word_errors(reference, [hypothesis], normalise=normalise)
        metric.update(n, np.array([found.errors, found.words]))
        assert found.errors == edits(normalise(reference).split(), normalise(hypothesis).split())
    references, hypotheses = ([normalise(text) for text in side] for side in zip(*pairs, strict=True))
    figures = metric.compute()
    each = [jiwer.wer(r, h) for r, h in zip(references, hypotheses, strict=True)]
    assert float(figures["wer"]) == pytest.approx(np.mean(each), abs=1e-6)
    assert float(figures["wer_pooled"]) == pytest.approx(jiwer.wer(references, hypotheses), abs=1e-6)
