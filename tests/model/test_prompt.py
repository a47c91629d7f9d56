"""Where the words of a prompt begin."""

from __future__ import annotations

import torch

from calm.model.prompt import Prompt
from calm.text import build_tokenizer

FIRST_SPOKEN = 10


def prompt_of(rows: list[list[int]]) -> Prompt:
    longest = max(map(len, rows))
    return Prompt(
        task=torch.zeros(len(rows), dtype=torch.int64),
        text=torch.tensor([row + [0] * (longest - len(row)) for row in rows]),
        num_text=torch.tensor([len(row) for row in rows]),
        reference=torch.zeros(len(rows), 0, 4),
        num_reference=torch.zeros(len(rows), dtype=torch.int64),
    )


def test_words_begin_at_the_first_spoken_id_and_at_row_0_where_there_is_none():
    prompt = prompt_of([[3, 4, 12, 5, 13], [11, 3], [3, 4]])
    assert prompt.num_before_words(FIRST_SPOKEN).tolist() == [2, 0, 0]


def test_a_dropped_text_has_no_words():
    prompt = prompt_of([[3, 4, 12]]).without_conditions()
    assert prompt.num_before_words(FIRST_SPOKEN).tolist() == [0]


def test_a_tokenizer_without_spoken_ids_puts_the_target_beside_the_text():
    assert prompt_of([[3, 12]]).num_before_words(build_tokenizer("bytes").first_spoken_id).tolist() == [0]


def test_the_phonemes_of_a_description_begin_behind_its_opening_quote():
    tokenizer = build_tokenizer("phonemes")
    before = 'A low male voice speaks. The speaker says: "'
    prompt = prompt_of([tokenizer.encode(f'{before}Hello."')])
    assert prompt.num_before_words(tokenizer.first_spoken_id).tolist() == [len(tokenizer.encode(before))]
