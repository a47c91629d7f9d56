"""Public sets in their published layouts: recognised, read whole, and honest about what is missing."""

from __future__ import annotations

import json

import pytest

from calm.data.check import check
from calm.data.importers import read_source
from calm.data.layouts import LAYOUTS
from calm.data.pack import pack
from calm.data.shards import ShardSet
from calm.errors import DataError, InputError
from tests.data.published import WRITERS, text, tone


@pytest.fixture
def listing(tmp_path):
    def of(name, **options):
        WRITERS[name](tmp_path / name)
        return read_source(tmp_path / name, **options)

    return of


def only(listing, split=""):
    (entry,) = [entry for entry in listing.entries if entry.split == split]
    return entry


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_recognised_packed_with_its_splits_and_reports_its_one_missing_file(tmp_path, name):
    WRITERS[name](tmp_path / name)
    report = pack(tmp_path / name, tmp_path / "out")
    assert report.layout == name and len(report.problems) == 1
    (line,) = (tmp_path / "out/problems.jsonl").read_text().splitlines()
    assert json.loads(line)["file"] == report.problems[0].file and ":" in report.problems[0].where
    checked = check(tmp_path / "out")
    assert checked.ok and checked.clips == report.clips == len(read_source(tmp_path / name).entries)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_can_be_forced_and_refuses_another_tree(tmp_path, listing, name):
    assert listing(name, layout=name).layout == name
    text(tmp_path / "other/notes.csv", "a,b\n1,2\n")
    with pytest.raises(DataError, match="does not lie as") as caught:
        read_source(tmp_path / "other", layout=name)
    assert caught.value.allowed == LAYOUTS[name].tree


def test_libritts_has_normalised_transcripts_readers_genders_and_splits(listing):
    found = listing("libritts")
    first, second = [entry for entry in found.entries if entry.split == "train-clean-100"]
    assert (first.text, first.speaker, first.language) == ('"Doctor Lynde, number 0!"', "librivox-103", "en")
    assert first.attributes == second.attributes == {"gender": "female"}
    assert only(found, "dev-clean").attributes == {}
    assert found.left_out[0].file == "dev-clean/84/1240/84_1240_000000_000001.wav"


def test_a_split_folder_alone_is_a_set_without_splits_and_still_finds_the_readers(tmp_path, listing):
    listing("libritts")
    alone = read_source(tmp_path / "libritts/train-clean-100")
    assert {entry.split for entry in alone.entries} == {""} and alone.entries[0].attributes == {"gender": "female"}


def test_libritts_audio_without_a_transcript_is_listed(tmp_path, listing):
    listing("libritts")
    (tmp_path / "libritts/train-clean-100/103/1240/103_1240_000000_000001.normalized.txt").unlink()
    reasons = [problem.reason for problem in read_source(tmp_path / "libritts").left_out]
    assert any("normalized.txt is missing" in reason for reason in reasons)


def test_librispeech_capitals_become_sentence_case(listing):
    found = listing("librispeech")
    assert [entry.text for entry in found.entries] == ["Go to the shore and I will swim", "He said I'm here"]
    assert {(e.speaker, e.split, e.attributes["gender"]) for e in found.entries} == {("librivox-84", "dev-clean", "male")}


def test_ljspeech_takes_the_normalised_column_and_keeps_quotes(listing):
    found = listing("ljspeech")
    assert found.entries[0].text == 'Printing, in fourteen fifty, "as it is'
    assert {entry.speaker for entry in found.entries} == {"ljspeech"}


def test_captions_of_one_audiocaps_clip_become_one_entry_without_repetition(listing):
    found = listing("audiocaps")
    assert only(found, "train").text == "A woman talks, water pours"
    dog = only(found, "val")
    assert (dog.text, dog.wordings, dog.name) == ("A dog barks", ("Barking of a dog",), "val/Y-abc.wav")
    assert "UDG_20" in found.left_out[0].reason and found.left_out[0].where.endswith("train.csv:3")


def test_clotho_has_five_captions_and_does_not_take_another_splits_file_of_the_same_name(listing):
    found = listing("clotho")
    rain = only(found, "evaluation")
    assert rain.name == "evaluation/Rain (1).wav" and len(rain.wordings) == 4 and rain.text == "evaluation, take 1"
    assert [problem.file for problem in found.left_out] == ["Gone"]


def test_song_describer_puts_captions_of_a_track_together_the_validated_first(listing):
    entry = only(listing("song_describer"))
    assert (entry.text, entry.wordings) == ("A calm piano", ("Loose words",))
    assert entry.name == "audio/00/18500.2min.mp3" and entry.attributes["track_id"] == "18500"


def test_musiccaps_aspects_are_a_wording_and_an_attribute(listing):
    found = listing("musiccaps")
    strings = only(found, "eval")
    assert strings.wordings == ("low quality, sustained strings",) and strings.text == "Low, sad strings."
    assert strings.attributes["aspects"] == ["low quality", "sustained strings"]
    assert only(found, "train").name == "audio/[1abcd]-[0-10].wav"


def test_a_table_alone_is_enough(tmp_path, listing):
    listing("audiocaps")
    found = read_source(tmp_path / "audiocaps/dataset/val.csv")
    assert found.layout == "audiocaps" and not found.entries and len(found.left_out) == 3  # the audio is elsewhere


def test_wordings_and_speakers_reach_the_samples_of_the_shards(tmp_path):
    WRITERS["clotho"](tmp_path / "clotho")
    pack(tmp_path / "clotho", tmp_path / "out")
    samples = [ShardSet.open(tmp_path / "out/development").read(row) for row in range(2)]
    assert all(sample.wordings == tuple(f"development, take {n}" for n in range(2, 6)) for sample in samples)


def test_a_link_out_of_the_folder_and_an_empty_transcript_are_left_out(tmp_path, listing):
    listing("ljspeech")
    tone(tmp_path / "elsewhere.wav")
    (tmp_path / "ljspeech/wavs/LJ9.wav").symlink_to(tmp_path / "elsewhere.wav")
    text(tmp_path / "ljspeech/metadata.csv", "LJ9|a|a\nLJ001-0001|...|...\n../x|a|a\nLJ001-0002|fine|fine\n")
    found = read_source(tmp_path / "ljspeech")
    assert [entry.text for entry in found.entries] == ["fine"]
    linked, outside, empty = sorted(problem.reason for problem in found.left_out)
    assert "link out" in linked and "the line is not" in outside and "no letter" in empty
    assert len(read_source(tmp_path / "ljspeech", outside="allow").entries) == 2


def test_misspelt_layouts_foreign_tasks_and_doubtful_folders_are_refused(tmp_path, listing):
    listing("musiccaps")
    with pytest.raises(InputError, match="Did you mean 'musiccaps'"):
        read_source(tmp_path / "musiccaps", layout="musicaps")
    with pytest.raises(InputError, match="musiccaps is music, not sound"):
        read_source(tmp_path / "musiccaps", task="sound")
    WRITERS["clotho"](tmp_path / "musiccaps")
    with pytest.raises(DataError, match="looks like several"):
        read_source(tmp_path / "musiccaps")
    assert read_source(tmp_path / "musiccaps", layout="clotho").layout == "clotho"


def test_a_set_without_any_audio_is_an_error_that_says_what_is_missing(tmp_path):
    text(tmp_path / "set/a.csv", "ytid,start_s,end_s,caption\nabc,0,10,Drums\n")
    with pytest.raises(DataError, match="No clip could be packed") as caught:
        pack(tmp_path / "set", tmp_path / "out")
    assert "abc_0_10" in caught.value.hint and not (tmp_path / "out").exists()
