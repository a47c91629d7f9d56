"""A result file is checked before it is shown, and leaves the names of its machine behind."""

from __future__ import annotations

import pytest

from calm.errors import CalmError, DataError
from calm.report import load_results
from calm.report.parse import parse, without_places
from tests.report.sample import manifest, results, speech_results, system


def small(tmp_path):
    return results("b", {"a": system("folder", {"speech": {"wer": 0.1}})}, folder=tmp_path)


BROKEN = {
    "no name": (lambda r: r["benchmark"].pop("name"), "'name' is missing"),
    "systems are a list": (lambda r: r.update(systems=[]), "'systems' is no table"),
    "an unknown task": (lambda r: r["systems"]["a"]["figures"].update(speach={}), "Did you mean 'speech'"),
    "a figure without a column": (
        lambda r: r["systems"]["a"]["figures"]["speech"].update(cer={"value": 1}),
        "no column: 'cer'",
    ),
    "a figure that is a number": (lambda r: r["systems"]["a"]["figures"]["speech"].update(wer=0.1), "no table"),
    "a value that is no number": (
        lambda r: r["systems"]["a"]["figures"]["speech"]["wer"].update(value=float("nan")),
        "'nan' is no finite number",
    ),
    "a value as text": (
        lambda r: r["systems"]["a"]["figures"]["speech"]["wer"].update(value="<b>"),
        "no finite number",
    ),
    "a value beyond numbers": (
        lambda r: r["systems"]["a"]["figures"]["speech"]["wer"].update(low=10**400),
        "no finite number",
    ),
    "no direction": (lambda r: r["columns"]["wer"].update(better="bigger"), "what is better"),
    "digits for ever": (lambda r: r["columns"]["wer"].update(digits=400), "'digits' is 400"),
    "audio that is no path": (lambda r: r["systems"]["a"].update(items={"x": {"audio": 3}}), "'audio' is no path"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_gets_one_clear_error(tmp_path, case):
    loaded = small(tmp_path)
    change, said = BROKEN[case]
    change(loaded.results)
    with pytest.raises(CalmError, match=said):
        parse(loaded)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(DataError, match="no result file"):
        load_results(tmp_path)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("/srv/me/models/whisper", "whisper"),
        ("cannot read /srv/me/a/b.wav (no such file)", "cannot read b.wav (no such file)"),
        ("C:\\Users\\me\\clip.wav", "clip.wav"),
        ("file:///srv/x/clip.wav", "clip.wav"),
        ("https://arxiv.org/abs/2606.23080", "https://arxiv.org/abs/2606.23080"),
        ("openai/whisper-large-v3", "openai/whisper-large-v3"),
        ("24/7 and 3 / 4", "24/7 and 3 / 4"),
    ],
)
def test_folders_of_a_machine_are_cut_and_nothing_else(given, shown):
    assert without_places({"a": [given, 1]}) == {"a": [shown, 1]}


def test_a_system_of_one_task_is_modality_specific(tmp_path):
    systems = {scope: system("folder", {"speech": {"wer": 0.1}}, scope=scope) for scope in ("speech", "unified", "own")}
    board = parse(results("b", systems, folder=tmp_path))
    assert [each.scope for each in board.systems] == ["modality-specific", "unified", "own"]


def test_clips_of_a_list_that_changed_since_are_not_shown(tmp_path):
    loaded = speech_results(tmp_path)
    assert len(parse(loaded).manifest) == 4
    (tmp_path / "libritts.jsonl").write_text('{"id": "speech-0", "task": "speech", "text": "Another text."}\n')
    board = parse(loaded)
    assert board.manifest == {} and "changed since" in board.notes[0]


def test_a_manifest_that_is_gone_is_told(tmp_path):
    listed = manifest("b", tmp_path, count=1)
    loaded = results("b", {"a": system("folder", {"speech": {"wer": 0.1}})}, folder=tmp_path, manifest=listed)
    (tmp_path / "b.jsonl").unlink()
    assert "nothing to listen to" in parse(loaded).notes[0]
