"""`phonemes`: few rows for small models. One row per phoneme of a transcript, one per phrase of the templates."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from itertools import groupby

from calm.text.espeak import find_espeak
from calm.text.phonemes import MARKS, SYMBOLS, phonemes
from calm.text.tokenizer import Tokenizer, valid_utf8

__all__ = ["VOCABULARY", "PhonemeTokenizer"]

#: the byte-level BPE for everything that is not a transcript, made by `calm.text.train_tokenizer`
VOCABULARY = "tokenizer.json"


class PhonemeTokenizer(Tokenizer):
    """Phonemes from the first double quote of a description to its last; byte-level BPE elsewhere.

    The ids of BPE come first, those of ``SYMBOLS`` follow. A symbol outside that list, and a clause that
    eSpeak NG cannot say, is spelled in BPE, which has all bytes: any text has ids. English only.

    Raises DataError where the package espeakng-loader is missing.
    """

    def __init__(self) -> None:
        from tokenizers import Tokenizer as Backend

        # Now, not at the first description: that would be in a worker process.
        find_espeak()
        text = (resources.files("calm.text") / VOCABULARY).read_text("utf-8")
        self._backend = Backend.from_str(text)
        self.first_spoken_id = self._first = self._backend.get_vocab_size()
        self._ids = {symbol: self._first + number for number, symbol in enumerate(SYMBOLS)}

    @property
    def name(self) -> str:
        return "phonemes"

    @property
    def vocab_size(self) -> int:
        return self._first + len(SYMBOLS)

    def encode(self, text: str) -> list[int]:
        valid_utf8(text)
        begin, end = text.find('"') + 1, text.rfind('"')
        if begin > end:  # no quote, or a single one
            return self._spell(text)
        return [*self._spell(text[:begin]), *self._say(text[begin:end]), *self._spell(text[end:])]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text with its transcript in phonemes: ``The speaker says: "həlˈoʊ, wˈɜːld."``."""
        runs = groupby(self._checked(ids), key=lambda i: i >= self._first)
        return "".join(self._written(list(run)) if spoken else self._backend.decode(list(run)) for spoken, run in runs)

    def _spell(self, text: str) -> list[int]:
        return self._backend.encode(text).ids

    def _say(self, transcript: str) -> list[int]:
        ids: list[int] = []
        for symbol in phonemes(transcript):
            ids += [self._ids[symbol]] if symbol in self._ids else self._spell(symbol)
        return ids

    def _written(self, ids: list[int]) -> str:
        symbols = [SYMBOLS[i - self._first] for i in ids]
        last = symbols.pop()
        return "".join(f"{symbol} " if symbol in MARKS else symbol for symbol in symbols) + last
