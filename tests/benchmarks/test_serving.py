"""The load test of the engine in small: nothing is left, nothing is lost, every stream is the clip made alone."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("serving")


def test_a_short_load_leaves_nothing_behind_and_every_stream_is_the_clip_made_alone(script, monkeypatch, tmp_path):
    monkeypatch.setattr(script, "REQUESTS", [{**script.REQUESTS[0], "duration": 0.4}, {**script.REQUESTS[1], "duration": 0.3}])
    result = tmp_path / "serving.json"
    options = ["--clients", "6", "--seconds", "2", "--cancel", "0.3", "--rounds", "0", "--threads", str(torch.get_num_threads())]
    monkeypatch.setattr(sys, "argv", ["serving.py", str(result), *options])
    script.main()
    found = json.loads(result.read_text())["results"]["load"]
    left = ("failed", "jobs_left", "job_objects_left", "threads_left", "streams_of_another_length")
    assert {key: found[key] for key in left} == dict.fromkeys(left, 0)
    assert found["completed"] + found["cancelled"] >= 6 and found["largest_difference"] <= 1e-4
