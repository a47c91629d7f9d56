"""What a demo has done survives any interruption, and belongs to its settings."""

from __future__ import annotations

import json

import pytest

from calm.demo.ledger import Ledger
from calm.errors import DataError, InputError


def test_a_finished_stage_is_not_run_again(tmp_path):
    first = Ledger(tmp_path / "demo.json", settings={"a": 1}).run("one", lambda: {"note": "x", "pair": (1, 2)})
    again = Ledger(tmp_path / "demo.json", settings={"a": 1})
    assert again.done("one") and not again.done("two")
    assert again.run("one", lambda: pytest.fail("it ran again")) == first == {"note": "x", "pair": [1, 2]}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_an_interrupted_stage_runs_again_and_its_time_is_kept(tmp_path, stop):
    ledger = Ledger(tmp_path / "demo.json", settings={})
    ledger.run("one", lambda: {"note": "x"})

    def interrupted():
        raise stop

    with pytest.raises(stop):
        ledger.run("two", interrupted)
    again = Ledger(tmp_path / "demo.json", settings={})
    assert again.done("one") and not again.done("two")
    again.stages["two"]["seconds"] = 100.0
    again.run("two", lambda: {"note": "y"})
    assert again.done("two") and again.seconds("two") >= 100.0


def test_a_folder_of_other_settings_is_refused(tmp_path):
    Ledger(tmp_path / "demo.json", settings={"seconds": 60}).run("one", lambda: {})
    with pytest.raises(InputError, match="other settings: seconds"):
        Ledger(tmp_path / "demo.json", settings={"seconds": 90})


@pytest.mark.parametrize("text", ["", "[]", '{"settings": {}}', json.dumps([1])])
def test_a_damaged_file_gets_one_clear_error(tmp_path, text):
    (tmp_path / "demo.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        Ledger(tmp_path / "demo.json", settings={})
