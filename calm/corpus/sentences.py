"""Sentences for the spoken part of the corpus: a small grammar over word lists (words/*.txt).

The hash of a sentence decides the split it belongs to, so no sentence of validation or test can
ever be drawn for training, whatever the seed or the size of the corpus.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from importlib import resources

import numpy as np

from calm.corpus.inflect import FORMS, indefinite_article, inflect
from calm.errors import InputError

__all__ = ["SPLITS", "Grammar", "draw_text", "load_grammar", "split_of"]

SPLITS: tuple[str, ...] = ("train", "validation", "test")

_SLOT = re.compile(r"<(\w+)(?:\.(\w+))?>")
_MAX_DRAWS = 100_000


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """Rules (name -> alternatives) and word lists (name -> words, each a mapping form -> spelling)."""

    rules: dict[str, tuple[str, ...]]
    words: dict[str, tuple[dict[str, str], ...]]

    def sentence(self, rng: np.random.Generator, *, start: str = "sentence") -> str:
        """Return one sentence, with capital letter and full stop or question mark."""
        text = self._expand(start, "base", rng)
        text = re.sub(r"\ba (?=(\w+))", lambda m: indefinite_article(m[1]) + " ", text)
        return re.sub(r"(?:^|(?<=[.?] ))[a-z]", lambda m: m[0].upper(), text)

    def vocabulary(self, *, start: str = "sentence") -> frozenset[str]:
        """Return every word, in lower case, that a sentence can contain."""
        found: set[str] = set()
        waiting, seen = [(start, "base")], set()
        while waiting:
            name, form = waiting.pop()
            if (name, form) in seen:
                continue
            seen.add((name, form))
            if name in self.words:
                found.update(word[form].lower() for word in self.words[name])
                continue
            for alternative in self.rules[name]:
                waiting.extend((slot, form or "base") for slot, form in _SLOT.findall(alternative))
                found.update(re.findall(r"[a-z']+", _SLOT.sub(" ", alternative).lower()))
        return frozenset(found)

    def _expand(self, name: str, form: str, rng: np.random.Generator) -> str:
        if name in self.words:
            words = self.words[name]
            return words[rng.integers(len(words))][form]
        alternatives = self.rules[name]
        chosen = alternatives[rng.integers(len(alternatives))]
        return _SLOT.sub(lambda m: self._expand(m[1], m[2] or "base", rng), chosen)


def split_of(text: str) -> str:
    """Return the split that owns a text: 90 % train, 5 % validation, 5 % test, by its hash.

    Only letters count, so neither punctuation nor capitals move a text to another split.
    """
    letters = " ".join(re.findall(r"[a-z']+", text.lower()))
    share = int.from_bytes(hashlib.sha256(letters.encode()).digest()[:4], "big") / 2**32
    return SPLITS[0] if share < 0.9 else SPLITS[1] if share < 0.95 else SPLITS[2]


def draw_text(draw, *, split: str, words: tuple[int, int]) -> str:
    """Call ``draw()`` until its text belongs to ``split`` and has ``words[0]..words[1]`` words."""
    for _ in range(_MAX_DRAWS):
        text = draw()
        if words[0] <= len(text.split()) <= words[1] and split_of(text) == split:
            return text
    raise InputError(
        f"No sentence of {words[0]} to {words[1]} words was found",
        where="words",
        allowed="a range that overlaps 2..18",
    )


@functools.cache
def load_grammar() -> Grammar:
    """Read the grammar and the word lists that are packaged with this module."""
    folder = resources.files("calm.corpus") / "words"
    rules: dict[str, tuple[str, ...]] = {}
    for line in _lines((folder / "grammar.txt").read_text("utf-8")):
        name, _, alternatives = line.partition(":")
        rules[name] = rules.get(name, ()) + tuple(a.strip() for a in alternatives.split("|"))
    words: dict[str, tuple[dict[str, str], ...]] = {}
    for file in ("nouns.txt", "verbs.txt", "names.txt", "modifiers.txt"):
        section = ""
        for line in _lines((folder / file).read_text("utf-8")):
            if line.startswith("["):
                section = line.strip("[]")
                words[section] = ()
            else:
                # The irregular form of a noun is its plural, of a verb its past.
                irregular = "past" if file == "verbs.txt" else "s"
                words[section] += tuple(_forms(word, irregular) for word in line.split())
    return Grammar(rules=rules, words=words)


def _forms(entry: str, irregular: str) -> dict[str, str]:
    base, _, given = entry.partition("=")
    forms = {"base": base} | {form: inflect(base, form) for form in FORMS}
    return forms | ({irregular: given} if given else {})


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
