"""Make the vocabulary of the `phonemes` tokenizer from the metadata of a corpus.

    python -m calm.text.train_tokenizer CORPUS/train/metadata.jsonl

The file that is in the package comes from the corpus that ``calm corpus`` writes with seed 100 and
36,000 seconds. Checkpoints depend on it: a new one needs a new name. The same metadata give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from calm.errors import DataError
from calm.text.attributes import canonical
from calm.text.description import Describer, describe
from calm.text.phoneme_tokenizer import VOCABULARY
from calm.text.phrases import PITCH, RATE, sentence
from calm.types import Task

__all__ = ["description_pieces", "train_bpe"]

VOCAB_SIZE = 1280
DRAWS = 4
#: values that recordings have and the corpus of this house does not
MORE_VALUES = {
    "recording": ("clean", "slightly noisy", "noisy"),
    "tone": ("happy", "sad", "angry", "fearful", "excited", "whispered", "calm", "neutral", "lively"),
    "age": ("young", "middle-aged", "elderly"),
}
# Stands for the content while the template around it is cut.
_CONTENT = "\ufffc"
# Tens and units of a number apart, so that each is seen often; decimals are told to a tenth.
_NUMBER = r" ?\d+(?=\d)| ?\d|\.\d"


def train_bpe(metadata: Path, *, vocab_size: int = VOCAB_SIZE, seed: int = 0) -> Backend:
    """Return a byte-level BPE whose merges cross spaces within the phrases of the templates.

    Args:
        metadata: JSON lines of the corpus, with task, text or caption, duration and attributes.
        vocab_size: all bytes and the merges.
        seed: of the descriptions that are drawn.
    Raises DataError where there is no such file.
    """
    if not metadata.is_file():
        raise DataError("There are no metadata to learn from", where=metadata, hint="write a corpus with `calm corpus`")
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    items = [json.loads(line) for line in metadata.read_text("utf-8").splitlines() if line]
    backend.train_from_iterator(description_pieces(items, rng=np.random.default_rng(seed)), trainer)
    return backend


def description_pieces(items: list[Mapping[str, Any]], *, rng: np.random.Generator) -> Iterator[str]:
    """Yield the phrases, values and words of drawn descriptions; a merge never reaches from one into the next.

    So "speaks" and "slowly" stay two tokens, as a value keeps its meaning in whatever phrase it stands.
    """
    values = re.compile(rf"( ?\b(?:{'|'.join(_values(items))})\b|{_NUMBER})", re.IGNORECASE)
    for item in items:
        task = Task(item["task"])
        for number in range(DRAWS):
            attributes = dict(item["attributes"])
            if task is Task.SPEECH:
                attributes |= {key: str(rng.choice(more)) for key, more in MORE_VALUES.items() if rng.random() < 0.3}
            for text in _descriptions(task, attributes, duration=item["duration"], number=number, rng=rng):
                yield from (piece for part in text for piece in values.split(part) if piece)
        if task is not Task.SPEECH:
            # Words of captions stay apart: a phrase of this corpus is none of another.
            for caption in (item["caption"], " " + sentence(item["caption"])):
                yield from DRAWS * re.findall(r" ?\w+(?:-\w+)*|\W", caption)


def _descriptions(
    task: Task, attributes: dict[str, Any], *, duration: float, number: int, rng: np.random.Generator
) -> Iterator[list[str]]:
    """Yield the template parts of a drawn description, and once of the one that generation uses."""
    has_reference = task is Task.SPEECH and bool(rng.random() < 0.3)
    options = {"attributes": attributes, "duration_seconds": duration, "has_reference": has_reference}
    texts = [Describer()(task, _CONTENT, rng=rng, **options)]
    if number == 0:
        texts += [describe(task, _CONTENT, **options), describe(task, _CONTENT, duration_seconds=duration)]
    # The cut leaves a transcript's quotes and a caption's full stop to the template.
    yield from (re.split(rf" ?{_CONTENT}", text) for text in texts)


def _values(items: list[Mapping[str, Any]]) -> list[str]:
    """Return the words that attributes have, longest first."""
    found = {word for options in (*PITCH.values(), *RATE.values(), *MORE_VALUES.values()) for word in options}
    for item in items:
        for value in canonical(item["attributes"]).values():
            found.update(str(word) for word in (value if isinstance(value, list) else [value]))
    words = {word.replace("_", " ") for text in found for word in (text, *text.split())}
    # Short words are articles too, or the letters of keys.
    return sorted((re.escape(word) for word in words if len(word) > 2), key=lambda word: (-len(word), word))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metadata", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / VOCABULARY)
    arguments = parser.parse_args()
    part = arguments.output.with_suffix(".part")
    part.write_text(train_bpe(arguments.metadata).to_str() + "\n", encoding="utf-8")
    os.replace(part, arguments.output)


if __name__ == "__main__":
    main()
