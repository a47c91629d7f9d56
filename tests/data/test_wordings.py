"""Further wordings of a clip: training draws among them and the clip's own words."""

from __future__ import annotations

import json

import numpy as np
import pytest

from calm.data.check import check
from calm.data.describe import DescriptionEncoder
from calm.data.examples import Example
from calm.data.importers import read_source
from calm.data.pack import pack
from calm.data.shards import ShardSet
from calm.errors import DataError
from calm.text import ByteTokenizer, Describer
from calm.types import Sample, Task
from tests.data.clips import write_corpus, write_manifest


def drawn(sample: Sample, *, draws: int = 200, has_reference: bool = False, style: str = "description") -> list[str]:
    encoder = DescriptionEncoder(Describer(style=style, attribute_dropout=0.0, duration_probability=0.0), ByteTokenizer())
    tokenizer = ByteTokenizer()
    return [
        tokenizer.decode(
            encoder(
                Example(sample=sample, complete=False, reference=None, make_rng=lambda seed=seed: np.random.default_rng(seed)),
                has_reference=has_reference,
            ).ids
        )
        for seed in range(draws)
    ]


def test_each_caption_is_drawn_about_as_often_as_the_others():
    texts = drawn(Sample(key="k", task=Task.SOUND, text="rain", wordings=("drizzle", "a shower")), style="raw")
    counts = [sum(word in text for text in texts) for word in ("rain", "drizzle", "a shower")]
    assert sum(counts) == 200 and min(counts) > 45


def test_a_clip_without_wordings_is_described_as_before_they_existed():
    sample = Sample(key="k", task=Task.SOUND, text="rain", attributes={"kinds": ["rain"]})
    encoder = Describer(attribute_dropout=0.0, duration_probability=0.0)
    expected = [encoder(Task.SOUND, "rain", rng=np.random.default_rng(s), attributes={"kinds": ["rain"]}) for s in range(20)]
    assert drawn(sample, draws=20) == expected


def test_a_wording_of_speech_is_its_voice_and_never_its_transcript():
    attributes = {"gender": "male", "pitch": "low", "rate": "slow"}
    sample = Sample(key="k", task=Task.SPEECH, text="Hello.", wordings=("a gravelly old voice",), attributes=attributes)
    texts = drawn(sample)
    assert all('"Hello."' in text for text in texts)
    phrased = [text for text in texts if "ravelly" in text]
    assert 30 < len(phrased) < 150 and not any("male" in text for text in phrased)
    assert not any("ravelly" in text for text in drawn(sample, has_reference=True))


def test_a_tempo_is_known_where_the_text_names_it_and_of_speech_never():
    encoder = DescriptionEncoder(Describer(attribute_dropout=0.5), ByteTokenizer())
    said = {True: 0, False: 0}
    for task, text in ((Task.MUSIC, "a jazz tune"), (Task.SPEECH, "Play it at 112 BPM.")):
        for seed in range(40):
            sample = Sample(key="k", task=task, text=text, attributes={"tempo": 112} if task is Task.MUSIC else {})
            example = Example(sample=sample, complete=False, reference=None, make_rng=lambda seed=seed: np.random.default_rng(seed))
            ids, tempo = encoder(example, has_reference=False)
            named = "112 BPM" in ByteTokenizer().decode(ids)
            assert tempo == (112.0 if named and task is Task.MUSIC else 0.0)
            said[named] += task is Task.MUSIC
    assert min(said.values()) > 5


def test_wordings_of_a_manifest_are_packed_and_checked(tmp_path):
    source = write_corpus(tmp_path / "source", num_speech=0, num_sound=1, num_music=0)
    write_manifest(source, [{"file_name": "sound_0.flac", "task": "sound", "text": "a", "wordings": ["b", "c"]}])
    pack(source, tmp_path / "out")
    assert ShardSet.open(tmp_path / "out").read(0).wordings == ("b", "c") and check(tmp_path / "out").ok


@pytest.mark.parametrize("wordings", ["b", [1], [""], ["x" * 301]])
def test_wordings_that_are_no_list_of_phrases_are_named(tmp_path, wordings):
    (tmp_path / "metadata.jsonl").write_text(
        json.dumps({"file_name": "a.wav", "task": "speech", "text": "a", "wordings": wordings})
    )
    with pytest.raises(DataError, match="wordings") as caught:
        read_source(tmp_path)
    assert caught.value.where.endswith("metadata.jsonl:1")
