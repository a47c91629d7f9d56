"""Text -> token ids: bytes or phonemes for our own backbones, a checkpoint's `tokenizer.json` for pretrained ones."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

from calm.errors import InputError

__all__ = ["ByteTokenizer", "HubTokenizer", "Tokenizer", "build_tokenizer", "valid_utf8"]


class Tokenizer(ABC):
    """Turns text into ids below ``vocab_size``. Batches are padded with ``pad_id`` and carry their lengths."""

    #: value that fills a batch; rows past a text's length are never attended to, so it may also be a token
    pad_id: int = 0
    #: ids from this one on stand in transcripts alone; None where a transcript has no ids of its own
    first_spoken_id: int | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """What `build_tokenizer` takes to build this tokenizer again."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of ids; every id is in 0..vocab_size - 1."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``. Raises InputError where it is not valid Unicode."""

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ``ids`` without special tokens. Raises InputError for an id out of range."""

    def _checked(self, ids: Iterable[int]) -> list[int]:
        checked = [int(i) for i in ids]
        for i in checked:
            if not 0 <= i < self.vocab_size:
                raise InputError(
                    f"Token id {i} is not in the vocabulary of '{self.name}'", allowed=f"0 to {self.vocab_size - 1}"
                )
        return checked


class ByteTokenizer(Tokenizer):
    """UTF-8 bytes: id = byte + 3; 0 pads, 1 begins (reserved for models that want one), 2 ends every text."""

    begin_id = 1
    end_id = 2
    num_special = 3

    @property
    def name(self) -> str:
        return "bytes"

    @property
    def vocab_size(self) -> int:
        return 256 + self.num_special

    def encode(self, text: str) -> list[int]:
        return [byte + self.num_special for byte in valid_utf8(text)] + [self.end_id]

    def decode(self, ids: Iterable[int]) -> str:
        kept = bytes(i - self.num_special for i in self._checked(ids) if i >= self.num_special)
        return kept.decode("utf-8", errors="replace")


class HubTokenizer(Tokenizer):
    """A Hugging Face ``tokenizer.json`` from a local folder, for example Qwen3's; nothing is downloaded."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        from tokenizers import Tokenizer as Backend

        self._folder = Path(folder)
        path = self._folder / "tokenizer.json"
        if not path.is_file():
            raise InputError(
                "No tokenizer.json in this folder",
                where=self._folder,
                allowed="'bytes', 'phonemes', or a folder that holds a Hugging Face tokenizer.json",
                hint="copy tokenizer.json from the checkpoint's repository into the folder",
            )
        try:
            self._backend = Backend.from_file(str(path))
        except Exception as error:  # the library raises bare Exception for a damaged file
            raise InputError(f"The tokenizer cannot be read ({error})", where=path, hint="copy it again") from error
        # A saved tokenizer may carry the padding and truncation of its last use.
        self._backend.no_padding()
        self._backend.no_truncation()

    @property
    def name(self) -> str:
        return str(self._folder)

    @property
    def vocab_size(self) -> int:
        # Ids may have gaps, so the count of entries can be smaller than the largest id.
        return max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def encode(self, text: str) -> list[int]:
        valid_utf8(text)
        return list(self._backend.encode(text).ids)

    def decode(self, ids: Iterable[int]) -> str:
        return self._backend.decode(self._checked(ids), skip_special_tokens=True)


def build_tokenizer(spec: str) -> Tokenizer:
    """Return the tokenizer called ``spec``: "bytes", "phonemes", or a folder with a Hugging Face tokenizer.json."""
    if spec == "bytes":
        return ByteTokenizer()
    if spec == "phonemes":
        from calm.text.phoneme_tokenizer import PhonemeTokenizer

        return PhonemeTokenizer()
    return HubTokenizer(spec)


def valid_utf8(text: str) -> bytes:
    """Return the text's UTF-8. Raises InputError where it is not valid Unicode."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError("The text is not valid Unicode (it holds a lone surrogate)", hint="use UTF-8") from None
