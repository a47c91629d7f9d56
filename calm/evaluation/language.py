"""The language model of the recogniser: a trigram over the corpus grammar's word classes, and its dictionary.

Sentences of the grammar are sampled down to their word lists ("the [thing.base] is [quality.base]"), and a
back-off trigram is estimated over these; every class then holds the words of its list that occur in the
evaluated sentences, equally likely. So the model knows the rules and the vocabulary of a list, and none of its
sentences. Originals, reconstructions and generations are recognised with the same model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calm.corpus.sentences import Grammar, load_grammar
from calm.errors import InputError
from calm.evaluation.pronounce import Dictionary, load_dictionary, pronounce
from calm.metrics.words import normalise_words
from calm.scorers.optional import need

__all__ = ["LanguageModel", "write_language_model"]

NAME = "classes"
NUM_TEMPLATES = 20_000
#: share of the probability that a history leaves to events it was not seen with; the rules are known, so little
DISCOUNT = 0.1

_SLOT = re.compile(r"<(\w+)(?:\.(\w+))?>")
_TOKEN = re.compile(r"\[[\w.]+\]|[a-z']+")


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """Files for pocketsphinx, and the words of the list that it cannot know.

    ``control``: its class definitions (lmctl). ``unknown``: words of the list outside the model, once each;
    ``oov_rate``: their share of the list's running words.
    """

    control: Path
    dictionary: Path
    num_words: int
    unknown: tuple[str, ...]
    oov_rate: float

    @property
    def options(self) -> dict[str, Any]:
        """Options of pocketsphinx's decoder."""
        return {"lm": None, "lmctl": str(self.control), "lmname": NAME, "dict": str(self.dictionary)}

    @property
    def sha256(self) -> str:
        """Hash of the model: its classes, its trigrams, its dictionary."""
        parts = (self.control.with_suffix(".def"), self.control.with_suffix(".arpa"), self.dictionary)
        return hashlib.sha256(b"\0".join(path.read_bytes() for path in parts)).hexdigest()

    def spoken(self, hypothesis: str) -> str:
        """The words of a hypothesis, whose tokens name their class as well (``clever.quality.base``)."""
        return " ".join(token.partition(".")[0].replace("_", " ") for token in hypothesis.split())


def write_language_model(texts: Sequence[str], *, folder: Path, seed: int = 0) -> LanguageModel:
    """Write the model for a list of sentences into an existing ``folder``, which the recogniser reads from."""
    if not texts:
        raise InputError("The grammar's language model needs the sentences of the list", where="texts")
    grammar, dictionary = load_grammar(), load_dictionary()
    running = [word for text in texts for word in normalise_words(text).split()]
    vocabulary = set(running)
    members = _members(grammar, vocabulary, dictionary)
    templates = [t for t in _templates(grammar, seed=seed) if all(_is_possible(token, members) for token in t)]
    function_words = {token for template in templates for token in template if not token.startswith("[")}
    function_words = {word for word in function_words if pronounce(word, dictionary)}
    classes = sorted({token for template in templates for token in template if token.startswith("[")})
    _write_trigram(folder / "classes.arpa", templates)
    _write_classes(folder / "classes.def", {name: members[name] for name in classes})
    _write_dictionary(folder / "words.dict", function_words, {name: members[name] for name in classes}, dictionary)
    names = " ".join(classes)
    control = folder / "classes.ctl"
    control.write_text(f"{{ {folder / 'classes.def'} }}\n{folder / 'classes.arpa'} {NAME} {{ {names} }}\n")
    known = function_words | {part for name in classes for word in members[name] for part in word.split()}
    return LanguageModel(
        control=control,
        dictionary=folder / "words.dict",
        num_words=len(known),
        unknown=tuple(sorted(vocabulary - known)),
        oov_rate=sum(word not in known for word in running) / max(1, len(running)),
    )


def _templates(grammar: Grammar, *, seed: int) -> list[list[str]]:
    rng = np.random.default_rng(seed)

    def expand(name: str, form: str) -> str:
        if name in grammar.words:
            return f" [{name}.{form}] "
        alternatives = grammar.rules[name]
        chosen = alternatives[rng.integers(len(alternatives))]
        return _SLOT.sub(lambda match: expand(match[1], match[2] or "base"), chosen)

    return [_TOKEN.findall(expand("sentence", "base").lower()) for _ in range(NUM_TEMPLATES)]


def _members(grammar: Grammar, vocabulary: set[str], dictionary: Dictionary) -> dict[str, list[str]]:
    """Class -> its entries (a place may have two words) that the list can contain and the dictionary can spell."""
    members = {}
    for name, words in grammar.words.items():
        for form in {form for word in words for form in word}:
            entries = sorted({word[form].lower() for word in words})
            members[f"[{name}.{form}]"] = [
                entry
                for entry in entries
                if all(part in vocabulary and pronounce(part, dictionary) for part in entry.split())
            ]
    return members


def _is_possible(token: str, members: Mapping[str, list[str]]) -> bool:
    return not token.startswith("[") or bool(members[token])


def _write_trigram(path: Path, templates: Iterable[Sequence[str]]) -> None:
    model = need("pocketsphinx.lm", package="pocketsphinx").ArpaBoLM(
        text="\n".join(" ".join(template) for template in templates), add_start=True, discount_mass=DISCOUNT
    )
    model.compute()
    with path.open("w", encoding="utf-8") as file:
        model.write(file)


def _write_classes(path: Path, members: Mapping[str, list[str]]) -> None:
    lines = []
    for name, entries in members.items():
        lines += [f"LMCLASS {name}", *(f"{_token(e, name)} {1 / len(entries):.8f}" for e in entries), f"END {name}"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_dictionary(
    path: Path, function_words: Iterable[str], members: Mapping[str, list[str]], dictionary: Dictionary
) -> None:
    lines = []
    for word in sorted(function_words):
        # An article becomes "an" before a vowel, which a class does not show.
        spellings = ("a", "an") if word == "a" else (word,)
        lines += _entries(word, [phones for spelling in spellings for phones in pronounce(spelling, dictionary)])
    for name, entries in members.items():
        for entry in entries:
            parts = [pronounce(part, dictionary) for part in entry.split()]
            phones = parts[0] if len(parts) == 1 else [" ".join(part[0] for part in parts)]
            lines += _entries(_token(entry, name), phones)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _entries(token: str, pronunciations: Iterable[str]) -> list[str]:
    return [f"{token}{f'({i + 1})' if i else ''} {phones}" for i, phones in enumerate(pronunciations)]


def _token(entry: str, name: str) -> str:
    """A word belongs to one class only, so that a word of two lists becomes two tokens."""
    return f"{entry.replace(' ', '_')}.{name.strip('[]')}"
