"""`calm evaluate` as its users type it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from calm.cli import app
from calm.evaluation.results import read_results
from tests.evaluation.judging import make_manifest, make_system


@pytest.fixture
def run():
    def invoke(*words):
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["evaluate", *map(str, words)])

    return invoke


@pytest.fixture
def folder(tmp_path):
    manifest = make_manifest(tmp_path / "list")
    (make_system(tmp_path / "half", manifest, gain=0.5) / "item-4.wav").unlink()
    return tmp_path


def test_finished_audio_is_judged_and_what_is_missing_is_said(run, folder):
    done = run("--manifest", folder / "list", "--system", f"half={folder / 'half'}", "--metric", "length_error", "-o", folder / "out")
    assert done.exit_code == 0, done.output
    assert "half: no audio for 1 clip: item-4" in done.output and "toy, speech" in done.output
    results = read_results(folder / "out" / "results.json")
    assert results["systems"]["half"]["figures"]["speech"]["length_error"]["value"] == 0.0
    assert results["systems"]["half"]["skipped"]["missing"] == ["item-4"]
    assert results["hardware"]["processes"] == 1 and "length_error" in results["metrics"]
    assert "FAD" not in done.output


def test_distances_of_few_clips_come_with_a_remark(run, folder):
    done = run("--manifest", folder / "list", "--system", f"half={folder / 'half'}", "--metric", "fad", "-o", folder / "out")
    assert done.exit_code == 0, done.output
    assert "speech: FAD and KAD compare sets of" in done.output and "below 100" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Give one of --manifest and --benchmark"),
        (["--manifest", "nowhere"], "No such manifest"),
        (["--manifest", "LIST", "--system", "half"], "NAME=FOLDER"),
        (["--manifest", "LIST", "--system", "half=HALF", "--metric", "wear"], "Did you mean 'wer'"),
        (["--manifest", "LIST", "--system", "half=HALF", "--metric", "wer", "wer.recogniser.padding=1"], "pad_seconds"),
        (["--manifest", "LIST", "--system", "half=HALF", "--metric", "wer", "fad.embedding=mel"], "takes no options here"),
        (["--benchmark", "libritts"], "needs the folder of its files"),
        (["--manifest", "LIST", "--model", "minni"], "mini"),
    ],
)
def test_a_wrong_word_is_one_clear_error(run, folder, words, said):
    words = [word.replace("LIST", str(folder / "list")).replace("HALF", str(folder / "half")) for word in words]
    done = run(*words, "-o", folder / "out")
    assert done.exit_code == 2 and said in done.output, done.output
    assert not (folder / "out" / "results.json").exists()


def test_a_results_file_is_plain_json_without_rounding(run, folder):
    run("--manifest", folder / "list", "--system", f"half={folder / 'half'}", "--metric", "length_error", "-o", folder / "out")
    text = (folder / "out" / "results.json").read_text()
    assert json.loads(text)["format"] == "calm-results-1" and "NaN" not in text
