from __future__ import annotations

import pytest

from calm.data.importers import find_splits, read_manifest
from calm.errors import DataError
from calm.types import Task
from tests.data.clips import write_manifest


def entries(path, **options):
    return list(read_manifest(path, **options))


def test_an_audiofolder_row_keeps_its_words_and_its_further_columns(tmp_path):
    row = {"file_name": "a.wav", "task": "speech", "text": "hello", "speaker": "ann", "pitch": "low", "duration": 3}
    write_manifest(tmp_path, [row])
    (entry,) = entries(tmp_path)
    assert (entry.task, entry.text, entry.speaker) == (Task.SPEECH, "hello", "ann")
    assert entry.path == tmp_path.resolve() / "a.wav"
    assert entry.attributes == {"pitch": "low"}  # durations are measured, not believed


@pytest.mark.parametrize("column", ["audio", "audio_file", "file_name", "path"])
@pytest.mark.parametrize("text", ["text", "caption"])
def test_jsonl_accepts_the_usual_column_names(tmp_path, column, text):
    path = tmp_path / "list.jsonl"
    path.write_text(f'{{"{column}": "x.flac", "{text}": "rain", "task": "sound"}}\n\n')
    assert [(e.name, e.text) for e in entries(path)] == [("x.flac", "rain")]


@pytest.mark.parametrize("delimiter", [",", "|"])
def test_csv_is_read_with_either_delimiter(tmp_path, delimiter):
    (tmp_path / "list.csv").write_text(delimiter.join(["audio_file", "text"]) + "\n" + delimiter.join(["a.wav", "hi"]))
    (entry,) = entries(tmp_path, task="speech", format_="csv")
    assert (entry.name, entry.text, entry.task) == ("a.wav", "hi", Task.SPEECH)


BAD_ROWS = {
    "names no task": {"file_name": "a.wav", "text": "x"},
    "Unknown task 'speach'": {"file_name": "a.wav", "text": "x", "task": "speach"},
    "has no text": {"file_name": "a.wav", "task": "sound"},
    "not empty": {"file_name": "a.wav", "task": "sound", "text": " "},
    "names no audio file": {"filename": "a.wav", "task": "sound", "text": "x"},
    "no letter": {"file_name": "a.wav", "task": "speech", "text": "..."},
    "zero character": {"file_name": "a\0.wav", "task": "sound", "text": "x"},
    "'../a.wav' lies outside": {"file_name": "../a.wav", "task": "sound", "text": "x"},
    "'/etc/passwd' lies outside": {"file_name": "/etc/passwd", "task": "sound", "text": "x"},
}


@pytest.mark.parametrize("message", BAD_ROWS)
def test_a_bad_row_is_named_with_its_file_and_line(tmp_path, message):
    good = {"file_name": "a.wav", "task": "sound", "text": "x"}
    manifest = write_manifest(tmp_path, [good, BAD_ROWS[message]])
    with pytest.raises(DataError, match=message.replace(".", r"\.")) as caught:
        entries(tmp_path)
    assert caught.value.where == f"{manifest}:2"


def test_a_link_that_leaves_the_folder_is_refused_unless_allowed(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.wav").write_bytes(b"x")
    (inside / "a.wav").symlink_to(tmp_path / "secret.wav")
    write_manifest(inside, [{"file_name": "a.wav", "task": "sound", "text": "x"}])
    with pytest.raises(DataError, match="outside"):
        entries(inside)
    assert len(entries(inside, outside="allow")) == 1


@pytest.mark.parametrize("text", ["{nonsense", "[1]", '{"file_name": NaN}', "[" * 100_000])
def test_a_line_that_is_no_json_object_is_named(tmp_path, text):
    (tmp_path / "metadata.jsonl").write_text(text + "\n")
    with pytest.raises(DataError) as caught:
        entries(tmp_path)
    assert str(caught.value.where).endswith("metadata.jsonl:1")


def test_a_csv_row_of_another_width_is_named(tmp_path):
    (tmp_path / "metadata.csv").write_text("file_name,text,task\na.wav,one,sound\nb.wav,two, three,sound\n")
    with pytest.raises(DataError, match="more or fewer cells") as caught:
        entries(tmp_path)
    assert str(caught.value.where).endswith(":3")


def test_missing_and_empty_manifests_are_errors(tmp_path):
    with pytest.raises(DataError, match="no manifest"):
        entries(tmp_path)
    with pytest.raises(DataError, match="No such"):
        entries(tmp_path / "nothing")
    write_manifest(tmp_path, [])
    with pytest.raises(DataError, match="lists no clips"):
        entries(tmp_path)


def test_split_folders_are_found_only_where_the_folder_itself_has_no_manifest(tmp_path):
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
        write_manifest(tmp_path / split, [])
    assert list(find_splits(tmp_path)) == ["train", "validation"]
    write_manifest(tmp_path, [])
    assert find_splits(tmp_path) == {}
