"""`calm listen`: what the shell sees."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from calm.cli import app
from calm.evaluation.manifest import write_manifest
from calm.evaluation.results import read_results
from calm.listening import ListeningTest
from calm.types import Task
from tests.listening.lab import Listener, make_clips, make_test, running


def calm(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="calm")


@pytest.fixture
def served(monkeypatch):
    """What would be served, instead of serving it for ever."""
    found = []
    monkeypatch.setattr("calm.listening.serve", lambda test, **options: found.append((test, options)))
    return found


def test_a_manifest_and_systems_become_a_test(tmp_path, served):
    path = write_manifest(make_clips(tmp_path, tasks={Task.SPEECH: 2}), tmp_path / "manifest.jsonl")
    words = ["--system", f"ours={tmp_path / 'zebra'}", "--originals", "--items", 7, "--seed", 3, "--port", 0]
    result = calm("listen", path, *words, "-o", tmp_path / "test")
    assert result.exit_code == 0, result.output
    ((test, options),) = served
    assert (
        set(test.systems) == {"ours", "original"} and test.settings.items_per_listener == 7 and test.settings.seed == 3
    )
    assert options["host"] == "127.0.0.1" and options["port"] == 0
    assert "ours: 2 clips" in result.output
    assert calm("listen", "-o", tmp_path / "test").exit_code == 0
    assert served[1][0] == test == ListeningTest.read(tmp_path / "test")


def test_a_summary_is_shown_and_written(tmp_path):
    test = make_test(tmp_path, tasks={Task.SOUND: 1}, num_checks=0)
    with running(test) as address:
        Listener(address).finish(lambda current, _: current["position"] % 5 + 1)
    out = tmp_path / "results.json"
    result = calm("listen", "-o", test.folder, "--summary", out)
    assert result.exit_code == 0 and "MOS-T" in result.output and "1 listeners (0 not finished)" in result.output
    assert read_results(out)["systems"]["zebra"]["figures"]["sound"]["mos_q"]["count"] == 1
    assert json.loads(out.read_text())["format"] == "calm-results-1"
    assert calm("listen", "-o", test.folder, "--summary").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "nowhere"], "no listening test"),
        (["-o", "nowhere", "--summary"], "no listening test"),
        (["--system", "a=b"], "need a manifest"),
        (["nothing.jsonl", "--originals"], "No such manifest"),
        (["manifest.jsonl"], "nothing to hear"),
        (["manifest.jsonl", "--system", "zebra"], "no NAME=FOLDER"),
        (["manifest.jsonl", "--system", "a=zebra", "--system", "a=walrus"], "no NAME=FOLDER"),
        (["manifest.jsonl", "--system", "original=zebra", "--originals"], "no NAME=FOLDER"),
        (["manifest.jsonl", "--system", "a=absent"], "no such folder"),
    ],
)
def test_what_cannot_be_done_is_one_message(words, message, tmp_path, monkeypatch, served):
    monkeypatch.chdir(tmp_path)
    write_manifest(make_clips(tmp_path, tasks={Task.SPEECH: 1}), tmp_path / "manifest.jsonl")
    result = calm("listen", *words)
    assert result.exit_code == 2 and message in result.stderr and "Traceback" not in result.output
    assert served == []
