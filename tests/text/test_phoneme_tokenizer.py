from __future__ import annotations

import json
import pickle
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from calm.corpus.espeak import Espeak
from calm.errors import DataError, InputError
from calm.text import Describer, PhonemeTokenizer, build_tokenizer, describe
from calm.text.phonemes import SYMBOLS, phonemes
from calm.text.train_tokenizer import description_pieces, train_bpe
from calm.types import TASKS, Task

VOICE = {"gender": "male", "pitch": "low", "rate": "slow", "tone": "calm", "accent": "British"}
PIECE = {"genre": "jazz", "mood": "calm", "instruments": ["piano", "bass"], "tempo": 90, "key": "C major"}
DESCRIPTIONS = [
    describe(Task.SPEECH, "Did the magpie crawl?", attributes=VOICE),
    describe(Task.SPEECH, "One clip. And its continuation!", style="raw"),
    describe(Task.SPEECH, 'He said "no", twice.', has_reference=True),
    describe(Task.SOUND, "A dog barks twice.", duration_seconds=4.5),
    describe(Task.MUSIC, "a slow melody", attributes=PIECE, duration_seconds=10),
]


@pytest.fixture(scope="module")
def tokenizer() -> PhonemeTokenizer:
    return PhonemeTokenizer()


def rows_outside(tokenizer: PhonemeTokenizer, text: str) -> int:
    return len(tokenizer.encode(text)) - len(phonemes(text[text.find('"') + 1 : text.rfind('"')]))


def test_it_is_built_from_its_name_and_has_about_1400_ids(tokenizer: PhonemeTokenizer) -> None:
    assert type(build_tokenizer("phonemes")) is PhonemeTokenizer and tokenizer.name == "phonemes"
    assert 1000 < tokenizer.vocab_size < 1500


def test_the_transcript_has_one_row_per_symbol_and_the_rest_round_trips(tokenizer: PhonemeTokenizer) -> None:
    text = tokenizer.decode(tokenizer.encode('A voice speaks. The speaker says: "Hello, world."'))
    assert text == 'A voice speaks. The speaker says: "həlˈoʊ, wˈɜːld."'
    assert tokenizer.decode(tokenizer.encode(DESCRIPTIONS[2])).endswith('says: "hiː sˈɛd nˈoʊ, twˈaɪs."')
    for description in DESCRIPTIONS[3:]:
        assert tokenizer.decode(tokenizer.encode(description)) == description


def test_descriptions_have_few_rows_outside_their_content(tokenizer: PhonemeTokenizer) -> None:
    assert rows_outside(tokenizer, DESCRIPTIONS[0]) <= 12
    assert rows_outside(tokenizer, describe(Task.SPEECH, "Hi.", has_reference=True)) <= 3
    assert rows_outside(tokenizer, '"Hi."') == 2
    content = "A slow melody."
    assert len(tokenizer.encode(DESCRIPTIONS[4])) - len(tokenizer.encode(content)) <= 20
    assert len(tokenizer.encode(DESCRIPTIONS[3])) <= 12


def test_the_three_tasks_have_far_fewer_rows_than_bytes(tokenizer: PhonemeTokenizer) -> None:
    rng = np.random.default_rng(0)
    for task, attributes in zip(TASKS, (VOICE, {"kinds": ["dog"]}, PIECE), strict=True):
        texts = [Describer()(task, "A dog sleeps in the sun.", rng=rng, attributes=attributes) for _ in range(50)]
        rows = sum(len(tokenizer.encode(text)) for text in texts)
        assert rows < 0.5 * sum(len(text) for text in texts)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(max_size=30), st.sampled_from(["{}", '"{}"', '"{}', 'says "{}" and "{}"']))
def test_any_text_has_ids_and_without_two_quotes_it_round_trips(text: str, form: str) -> None:
    tokenizer = build_tokenizer("phonemes")
    description = form.replace("{}", text)
    ids = tokenizer.encode(description)
    assert all(0 <= i < tokenizer.vocab_size for i in ids)
    decoded = tokenizer.decode(ids)
    assert decoded == description or description.count('"') > 1


def test_a_foreign_transcript_is_spelled_in_bytes(tokenizer: PhonemeTokenizer) -> None:
    text = 'The speaker says: "日本 мир!"'
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_rare_symbol_is_spelled_in_bytes(tokenizer: PhonemeTokenizer) -> None:
    assert "ɬ" in phonemes("Llanelli") and "ɬ" not in SYMBOLS
    assert tokenizer.decode(tokenizer.encode('"Llanelli"')) == '"ɬænˈɛli"'


def test_an_id_out_of_range_and_a_lone_surrogate_are_refused(tokenizer: PhonemeTokenizer) -> None:
    for bad in (-1, tokenizer.vocab_size):
        with pytest.raises(InputError, match=f"Token id {bad} is not in the vocabulary"):
            tokenizer.decode([bad])
    with pytest.raises(InputError, match="not valid Unicode"):
        tokenizer.encode('"\ud800"')


def test_a_copy_encodes_alike(tokenizer: PhonemeTokenizer) -> None:
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert [copy.encode(text) for text in DESCRIPTIONS] == [tokenizer.encode(text) for text in DESCRIPTIONS]


def first_ids(texts: list[str], *, tokenizer: PhonemeTokenizer) -> list[list[int]]:
    # Asked without the cache that a forked worker inherits.
    phonemes.cache_clear()
    return [tokenizer.encode(text) for text in texts]


@pytest.mark.parametrize("start", ["fork", "forkserver"])
def test_workers_of_a_data_loader_give_the_ids_of_this_process(tokenizer: PhonemeTokenizer, start: str) -> None:
    expected = first_ids(DESCRIPTIONS, tokenizer=tokenizer)
    collate = partial(first_ids, tokenizer=tokenizer)
    loader = DataLoader(
        DESCRIPTIONS, batch_size=3, num_workers=1, collate_fn=collate, multiprocessing_context=start, timeout=60
    )
    assert [ids for batch in loader for ids in batch] == expected
    assert first_ids(DESCRIPTIONS, tokenizer=tokenizer) == expected


def test_a_missing_package_is_told_when_the_tokenizer_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(DataError, match="pip install espeakng-loader"):
        build_tokenizer("phonemes")


ITEMS = [
    {"task": "speech", "text": "Hi.", "duration": 1.0, "attributes": VOICE},
    {"task": "sound", "caption": "A dog barks.", "duration": 4.5, "attributes": {"kinds": ["dog"], "loudness": "loud"}},
    {"task": "music", "caption": "a slow melody", "duration": 10.0, "attributes": PIECE},
]


def test_the_same_metadata_give_the_same_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(item) for item in ITEMS))
    first, second = (train_bpe(tmp_path / "metadata.jsonl", vocab_size=400) for _ in range(2))
    assert first.to_str() == second.to_str()
    assert first.get_vocab_size() <= 400
    assert first.decode(first.encode("Ünseen “text” 日本").ids) == "Ünseen “text” 日本"


def test_missing_metadata_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)no metadata.*nowhere\.jsonl"):
        train_bpe(tmp_path / "nowhere.jsonl")


def test_values_and_transcripts_are_cut_from_the_phrases_around_them() -> None:
    pieces = list(description_pieces(ITEMS, rng=np.random.default_rng(0)))
    assert {" male", " British", " calm", " jazz", " dog", " barks"} <= set(pieces)
    phrases = {piece for piece in pieces if "says" in piece}
    assert phrases and all(phrase.endswith('says: "') for phrase in phrases)
    assert not any("\ufffc" in piece or "Hi" in piece for piece in pieces)


def test_rendering_after_the_tokenizer_was_used_gives_the_same_samples(tokenizer: PhonemeTokenizer) -> None:
    voice = {"accent": "en-US", "variant": "edward", "words_per_minute": 170, "pitch": 50, "pitch_range": 50}
    first = Espeak().render("The old dog sleeps.", **voice)
    tokenizer.encode('"A sentence that nobody asked for before."')
    assert np.array_equal(Espeak().render("The old dog sleeps.", **voice), first)
