"""Word error rate: one normaliser for references and hypotheses, errors by utterance, paired differences."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from calm.errors import InputError
from calm.metrics.intervals import Figure, ratio_of_sums
from calm.scorers.optional import need
from calm.text import normalize

__all__ = ["WordErrors", "excess", "normalise_words", "word_error_rate", "word_errors"]


@dataclass(frozen=True, kw_only=True)
class WordErrors:
    """Substitutions, deletions and insertions of one utterance, mean over recognitions, and its number of words."""

    errors: float
    words: int


def normalise_words(text: str) -> str:
    """Lower-case words alone, numbers spelt out; ``an`` counts as ``a``."""
    words = re.findall(r"[a-z']+", normalize(text).lower().replace("’", "'")) if text.strip() else []
    return " ".join("a" if word == "an" else word for word in words)


def word_errors(
    reference: str, hypotheses: Sequence[str], *, normalise: Callable[[str], str] = normalise_words
) -> WordErrors:
    """Errors of the recognitions of one utterance (one for each dither seed), by jiwer's alignment."""
    words = normalise(reference)
    if not words or not hypotheses:
        raise InputError("Word errors need a reference with words and at least one hypothesis", where=reference)
    jiwer = need("jiwer")
    counts = []
    for hypothesis in hypotheses:
        found = jiwer.process_words(words, normalise(hypothesis))
        counts.append(found.substitutions + found.deletions + found.insertions)
    return WordErrors(errors=float(np.mean(counts)), words=len(words.split()))


def word_error_rate(errors: Sequence[WordErrors]) -> Figure:
    """Pooled word error rate: all errors over all words, with the interval over utterances."""
    return ratio_of_sums([e.errors for e in errors], [e.words for e in errors])


def excess(ours: Sequence[WordErrors], originals: Sequence[WordErrors]) -> Figure:
    """WER of ``ours`` minus WER of ``originals`` on the same sentences, paired."""
    pairs = list(zip(ours, originals, strict=True))
    if any(a.words != b.words for a, b in pairs):
        raise InputError("Paired utterances must have the same reference", where="excess")
    return ratio_of_sums([a.errors - b.errors for a, b in pairs], [b.words for _, b in pairs])
