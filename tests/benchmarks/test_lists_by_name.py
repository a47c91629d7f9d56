"""Benchmarks by name: each reads small trees that lie as the sets are published."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from calm.audio import info, read
from calm.errors import ConfigError, DataError
from calm.evaluation.manifest import read_manifest, write_manifest
from calm.registry import build
from calm.types import Task
from tests.data import published

RATE = 16000


def hum(path: Path, seconds: float, *, seed: int) -> None:
    """A file whose samples tell which file it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE)), RATE)


def libritts(root: Path, lengths: dict[str, list[float]]) -> Path:
    """Readers with utterances of the given lengths in seconds, as LibriTTS lies."""
    for reader, seconds in lengths.items():
        for number, length in enumerate(seconds):
            stem = root / "test-clean" / reader / "1" / f"{reader}_1_000000_{number:06d}"
            hum(stem.with_suffix(".wav"), length, seed=int(reader) * 100 + number)
            published.text(stem.with_suffix(".normalized.txt"), f"Reader {reader}, sentence {number}.")
    return root


def manifest_of(name: str, folder: Path, out: Path, **options):
    return build("benchmark", {"name": name, "folder": str(folder), **options}).manifest(out)


def ids(manifest) -> list[str]:
    return [entry.item.id for entry in manifest.items]


READERS = {"61": [4.5, 5.0, 3.2, 1.0], "121": [6.0, 3.5, 2.9], "237": [8.0]}


def test_each_libritts_sentence_has_three_seconds_of_another_utterance_of_its_reader(tmp_path):
    manifest = manifest_of("libritts", libritts(tmp_path / "set", READERS), tmp_path / "out")
    assert sorted(ids(manifest)) == ["121_1_000000_000000", "61_1_000000_000000", "61_1_000000_000001"]
    for entry in manifest.items:
        prompt, reader = read(entry.reference), entry.item.id.split("_")[0]
        assert prompt.audio.shape == (1, 3 * RATE)
        source = [
            path.stem
            for path in (tmp_path / "set/test-clean").rglob("*.wav")
            if np.array_equal(read(path).audio[:, : 3 * RATE].numpy(), prompt.audio.numpy())
        ]
        assert len(source) == 1 and source[0].split("_")[0] == reader and source[0] != entry.item.id
        assert entry.target.stem == entry.item.id
        assert entry.item.reference_text == "", "the words of a prompt that was cut are not known"
        assert entry.item.labels == (f"librivox-{reader}",)
    assert manifest.rejected == ("237_1_000000_000000: the speaker 'librivox-237' has no 3 s besides this clip",)


def test_a_whole_prompt_keeps_its_file_and_its_words(tmp_path):
    root = libritts(tmp_path / "set", {"121": [6.0, 3.5]})
    (entry,) = manifest_of("libritts", root, tmp_path / "out", prompt="whole").items
    assert entry.reference == root / "test-clean/121/1/121_1_000000_000001.wav"
    assert entry.item.reference_text == "Reader 121, sentence 1."
    assert not (tmp_path / "out").exists()


def test_short_utterances_are_joined_where_none_is_long_enough(tmp_path):
    root = libritts(tmp_path / "set", {"121": [6.0, 2.0, 2.0]})
    (entry,) = manifest_of("libritts", root, tmp_path / "out").items
    assert info(entry.reference).seconds == 3.0


def test_a_list_depends_on_the_seed_alone_and_a_short_one_is_part_of_a_longer_one(tmp_path):
    readers = {str(number): [5.0, 6.0, 4.0] for number in (1, 2, 3, 4)}
    root = libritts(tmp_path / "set", readers)
    whole = manifest_of("libritts", root, tmp_path / "a", seed=3)
    again = manifest_of("libritts", root, tmp_path / "b", seed=3)
    assert whole.sha256 == again.sha256
    for one, other in zip(whole.items, again.items, strict=True):
        assert one.reference.read_bytes() == other.reference.read_bytes()
    shorter, longer = (manifest_of("libritts", root, tmp_path / "c", seed=3, limit=n) for n in (3, 7))
    assert set(ids(shorter)) < set(ids(longer)) < set(ids(whole))
    assert ids(longer) == [id for id in ids(whole) if id in ids(longer)]
    assert ids(manifest_of("libritts", root, tmp_path / "d", seed=4, limit=3)) != ids(shorter)
    assert whole.protocol["counts"] == {"speech": 12} and whole.protocol["prompt"].endswith("3 s, cut")


def test_most_items_are_spread_over_the_list_and_nothing_is_cut_for_the_others(tmp_path):
    root = libritts(tmp_path / "set", {str(number): [5.0, 6.0, 4.0] for number in (1, 2, 3, 4)})
    whole = manifest_of("libritts", root, tmp_path / "a")
    few = build("benchmark", {"name": "libritts", "folder": str(root)}).manifest(tmp_path / "b", most=4)
    assert few.items == tuple(replace(entry, reference=few.items[n].reference) for n, entry in enumerate(whole.items[::3]))
    assert sorted(path.stem for path in (tmp_path / "b").rglob("*.wav")) == sorted(ids(few))
    own = build("benchmark", {"name": "real", "folder": str(own_folder(tmp_path / "own"))}).manifest(tmp_path / "c", most=1)
    assert own.counts() == {"speech": 1, "sound": 1, "music": 1}


def test_the_list_of_librispeech_pc_fixes_the_pairs(tmp_path):
    root = tmp_path / "LibriSpeech/test-clean"
    for number in (0, 1):
        hum(root / f"61/70968/61-70968-{number:04d}.flac", 1.0 + number, seed=number)
    rows = [
        "61-70968-0000\t1.0\tWords of it.\t61-70968-0001\t2.0\tHe began, at once.",
        "61-70968-0000\t1.0\tWords of it.\t61-70968-0009\t2.0\tNot there.",
        "no list",
    ]
    published.text(tmp_path / "pairs.lst", "\n".join(rows) + "\n")
    manifest = manifest_of("libritts", tmp_path / "LibriSpeech", tmp_path / "out", list_path=str(tmp_path / "pairs.lst"))
    (entry,) = manifest.items
    assert (entry.item.text, entry.item.reference_text) == ("He began, at once.", "Words of it.")
    assert entry.reference == root / "61/70968/61-70968-0000.flac"
    assert entry.target == root / "61/70968/61-70968-0001.flac"
    assert entry.item.seconds == 2.0
    assert len(manifest.rejected) == 2 and manifest.rejected[0].startswith("line 3")
    assert manifest.rejected[1] == "61-70968-0009: the audio file 61-70968-0009.flac is missing"


def test_librispeech_without_a_list_is_read_as_well(tmp_path):
    folder = tmp_path / "set/test-clean/84/1"
    published.text(folder / "84-1.trans.txt", "84-1-0000 GO ON\n84-1-0001 HE SAID\n")
    for number in (0, 1):
        hum(folder / f"84-1-{number:04d}.flac", 4.0 + number, seed=number)
    manifest = manifest_of("libritts", tmp_path / "set", tmp_path / "out")
    assert ids(manifest) == ["84-1-0000", "84-1-0001"] and manifest.items[0].item.text == "Go on"
    assert manifest.protocol["layout"] == "librispeech"


def test_seed_tts_eval_keeps_its_published_prompts(tmp_path):
    root = tmp_path / "seedtts/en"
    for name in ("a", "b"):
        hum(root / f"prompt-wavs/{name}.wav", 1.0, seed=ord(name))
    hum(root / "wavs/utt-1.wav", 1.0, seed=1)
    hum(root / "other/two.wav", 1.0, seed=2)
    rows = [
        "utt-1|The words of a.|prompt-wavs/a.wav|Say this.",
        "utt-2|The words of b.|prompt-wavs/b.wav|Say that.|other/two.wav",
        "utt-3|The words of a.|prompt-wavs/a.wav|No original.",
        "utt-4|Gone.|prompt-wavs/gone.wav|Nothing.",
        "utt-1|Again.|prompt-wavs/a.wav|Again.",
        "not a line",
    ]
    published.text(root / "meta.lst", "\n".join(rows) + "\n")
    manifest = manifest_of("seed_tts_en", tmp_path / "seedtts", tmp_path / "out")
    assert ids(manifest) == ["utt-1", "utt-2", "utt-3"]
    assert manifest.items[1].reference == root / "prompt-wavs/b.wav"
    assert manifest.items[1].item.reference_text == "The words of b."
    assert [entry.target and entry.target.name for entry in manifest.items] == ["utt-1.wav", "two.wav", None]
    assert Counter(reason.split(":")[0] for reason in manifest.rejected) == Counter(["line 6", "utt-1", "utt-4"])


def audiocaps_set(root: Path) -> Path:
    header = "audiocap_id,youtube_id,start_time,caption\n"
    published.text(root / "dataset/train.csv", header + "1,aaaaaaaaaaa,30,Never used\n")
    rows = "2,-bcdefghijk,20,A dog barks\n3,-bcdefghijk,20,Barking\n4,gone0000000,30,Gone\n5,ccccccccccc,40,Rain\n"
    published.text(root / "dataset/test.csv", header + rows)
    hum(root / "test/-bcdefghijk_20.wav", 0.5, seed=1)
    hum(root / "test/ccccccccccc_40.wav", 12.0, seed=2)
    return root


def test_audiocaps_gives_one_caption_for_each_clip_of_the_test_table_that_is_there(tmp_path):
    manifest = manifest_of("audiocaps", audiocaps_set(tmp_path / "set"), tmp_path / "out")
    assert ids(manifest) == ["Y-bcdefghijk_20", "Yccccccccccc_40"]
    assert [entry.item.text for entry in manifest.items] == ["A dog barks", "Rain"]
    assert [entry.item.seconds for entry in manifest.items] == [0.5, 10.0]
    assert {entry.item.task for entry in manifest.items} == {Task.SOUND}
    assert len(manifest.rejected) == 1 and "gone0000000" in manifest.rejected[0]


def test_a_drawn_caption_is_one_of_the_clips_captions(tmp_path):
    root = audiocaps_set(tmp_path / "set")
    drawn = {
        manifest_of("audiocaps", root, tmp_path / "out", caption="drawn", seed=seed).items[0].item.text for seed in range(8)
    }
    assert drawn == {"A dog barks", "Barking"}


def test_a_published_list_fixes_the_clips_and_their_captions(tmp_path):
    rows = [("/x/ccccccccccc_40.wav", "Rain falls"), ("/x/unknown0000_1.wav", "Nothing")]
    lines = [json.dumps({"dataset": "audiocaps", "location": path, "captions": text}) for path, text in rows]
    published.text(tmp_path / "subset.json", "\n".join(lines) + "\n")
    root = audiocaps_set(tmp_path / "set")
    manifest = manifest_of("audiocaps", root, tmp_path / "out", list_path=str(tmp_path / "subset.json"))
    assert [(entry.item.id, entry.item.text) for entry in manifest.items] == [("Yccccccccccc_40", "Rain falls")]
    assert manifest.rejected == ("Yunknown0000_1: its audio is not there",)


def test_song_describer_gives_a_track_once_with_a_validated_caption(tmp_path):
    published.song_describer(tmp_path / "set")
    manifest = manifest_of("song_describer", tmp_path / "set", tmp_path / "out")
    (entry,) = manifest.items
    assert (entry.item.id, entry.item.text, entry.item.seconds) == ("18500", "A calm piano", 30.0)
    assert entry.target.name == "18500.2min.mp3" and entry.item.task is Task.MUSIC
    assert len(manifest.rejected) == 1


def own_folder(root: Path) -> Path:
    rows = [
        {"file_name": "speech/a0.wav", "task": "speech", "text": "Number nought.", "speaker": "a"},
        {"file_name": "speech/a1.wav", "task": "speech", "text": "Number one.", "speaker": "a"},
        {"file_name": "speech/b0.wav", "task": "speech", "text": "Alone.", "speaker": "b"},
        {"file_name": "speech/c0.wav", "task": "speech", "text": "Nobody."},
        {"file_name": "rain.wav", "task": "sound", "text": "Rain."},
        {"file_name": "piano.wav", "task": "music", "text": "A piano."},
        {"file_name": "gone.wav", "task": "music", "text": "Gone."},
    ]
    for seed, row in enumerate(rows[:-1]):
        hum(root / row["file_name"], 3.5, seed=seed)
    published.text(root / "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_a_folder_of_recordings_gives_all_three_tasks_and_names_what_has_no_reference(tmp_path):
    manifest = manifest_of("real", own_folder(tmp_path / "set"), tmp_path / "out")
    assert manifest.counts() == {"speech": 2, "sound": 1, "music": 1}
    rejected = {line.split(":")[0] for line in manifest.rejected}
    assert rejected == {"b0", "c0", "gone"}
    first = manifest.items[0]
    assert np.array_equal(read(first.reference).audio, read(tmp_path / "set/speech/a1.wav").audio[:, : 3 * RATE])
    assert manifest_of("real", tmp_path / "set", tmp_path / "out", task="sound").counts() == {"sound": 1}


def test_the_list_of_the_corpus_joins_clips_of_one_voice_and_names_what_is_heard(tmp_path):
    root = tmp_path / "corpus"
    for split in ("train", "test"):
        lines = []
        for number in range(4):
            name, text = f"speech/{split}{number}.wav", f"Sentence {number}."
            hum(root / split / name, 1.6, seed=number)
            attributes = {"pitch": "low", "rate": "slow"}
            entry = {"file_name": name, "task": "speech", "text": text, "speaker": f"{split}_s", "duration": 1.6}
            lines.append({**entry, "attributes": attributes})
        hum(root / split / "sound/s.wav", 1.0, seed=9)
        entry = {"file_name": "sound/s.wav", "task": "sound", "caption": "A bell.", "duration": 1.0}
        lines.append({**entry, "attributes": {"tags": ["bell"]}})
        published.text(root / split / "metadata.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    manifest = manifest_of("corpus", root, tmp_path / "out")
    assert manifest.counts() == {"speech": 4, "sound": 1} and not manifest.rejected
    assert manifest.items[-1].item.labels == ("bell",)
    assert info(manifest.items[0].reference).seconds == 3.0
    whole = manifest_of("corpus", root, tmp_path / "out", prompt="whole", task="speech", limit=2)
    assert whole.counts() == {"speech": 2} and info(whole.items[0].reference).seconds == pytest.approx(3.35)
    assert len(whole.items[0].item.reference_text.split()) == 4


def test_a_manifest_survives_its_file(tmp_path):
    manifest = manifest_of("libritts", libritts(tmp_path / "set", READERS), tmp_path / "out")
    again = read_manifest(write_manifest(manifest, tmp_path / "out/manifest.jsonl"))
    assert again.sha256 == manifest.sha256 and again.protocol == manifest.protocol
    assert all(entry.reference.is_file() and entry.target.is_file() for entry in again.items)


@pytest.mark.parametrize("name", ["libritts", "seed_tts_en", "audiocaps", "song_describer", "corpus", "real"])
def test_a_benchmark_says_what_it_lacks(name, tmp_path):
    with pytest.raises(ConfigError, match="needs its folder"):
        build("benchmark", name).manifest(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        manifest_of(name, tmp_path / "empty", tmp_path / "out")
    card = build("benchmark", name).card
    assert card.title and card.licence and card.citation


def test_a_limit_below_one_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="limit"):
        manifest_of("real", own_folder(tmp_path / "set"), tmp_path, limit=0)
