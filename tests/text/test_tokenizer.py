from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from calm.errors import InputError
from calm.text import ByteTokenizer, HubTokenizer, Tokenizer, build_tokenizer

SENTENCES = ["A dog barks twice.", 'The speaker says: "Hello, world!"', "A calm piano melody at 90 BPM, café."]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A byte-level BPE of the kind that Qwen3 uses, trained on a few sentences."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(SENTENCES * 5, trainer)
    backend.enable_padding(length=64)
    backend.enable_truncation(max_length=4)
    backend.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(max_size=30))
def test_bytes_round_trip_any_text(text: str) -> None:
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert len(ids) == len(text.encode()) + 1
    assert all(0 <= i < tokenizer.vocab_size for i in ids)


def test_byte_ids_are_shifted_by_three_and_end_with_two() -> None:
    assert ByteTokenizer().encode("aÿ") == [ord("a") + 3, 0xC3 + 3, 0xBF + 3, 2]
    assert ByteTokenizer().vocab_size == 259 and ByteTokenizer().pad_id == 0


def test_padding_and_half_characters_decode_without_an_error() -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.decode([0, 1, *tokenizer.encode("hi"), 0, 0]) == "hi"
    assert tokenizer.decode([0xC3 + 3]) == "\ufffd"


def test_a_hub_tokenizer_round_trips_without_saved_padding_or_truncation(folder: Path) -> None:
    tokenizer = HubTokenizer(folder)
    for text in SENTENCES:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert 4 < len(ids) < len(text.encode()) + 1
        assert max(ids) < tokenizer.vocab_size == 300


def test_a_tokenizer_is_built_from_its_name(folder: Path) -> None:
    for spec in ("bytes", str(folder)):
        tokenizer = build_tokenizer(spec)
        again = build_tokenizer(tokenizer.name)
        assert isinstance(tokenizer, Tokenizer) and type(again) is type(tokenizer)
        assert again.encode("A dog.") == tokenizer.encode("A dog.")


@pytest.mark.parametrize("spec", ["bytes", "folder"])
def test_an_id_out_of_range_and_a_lone_surrogate_are_refused(folder: Path, spec: str) -> None:
    tokenizer = build_tokenizer("bytes" if spec == "bytes" else str(folder))
    for bad in (-1, tokenizer.vocab_size):
        with pytest.raises(InputError, match=f"Token id {bad} is not in the vocabulary"):
            tokenizer.decode([bad])
    with pytest.raises(InputError, match="not valid Unicode"):
        tokenizer.encode("\ud800")


def test_a_folder_without_a_tokenizer_says_which_file_to_put_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)No tokenizer\.json.*copy tokenizer\.json"):
        build_tokenizer(str(tmp_path))


def test_a_damaged_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(InputError, match=r"(?s)cannot be read.*tokenizer\.json"):
        build_tokenizer(str(folder))
