"""The table of ratios: what a goal means, how runs are kept, and that the page shows what was measured."""

from __future__ import annotations

import json

import pytest
import torch
from rich.console import Console

from benchmarks.ratios import history, table
from benchmarks.ratios.__main__ import FAMILIES, PAGE, measure
from benchmarks.ratios.plot import plot
from benchmarks.ratios.readings import ROWS, Goal, MissingPeer, Reading, compare, peer_module
from benchmarks.ratios.streaming import listen
from benchmarks.ratios.training import PlainModel
from benchmarks.ratios.turns import turns
from calm.registry import build


def reading(key: str = "P1 77m", *, ratio: float = 1.5, goal: Goal | None = None) -> Reading:
    goal = goal or Goal(sense=">=", value=2.0, bar=1.2)
    return Reading(row=key.split()[0], key=key, what="a", ours="b", peer="c", ratio=ratio, low=1.0, high=2.0, goal=goal)


def run(commit: str, *readings: Reading) -> dict:
    kept = {one.key: one.as_json() for one in readings}
    return {"commit": commit, "machine": "m", "instructions": "AVX2", "versions": {}, "readings": kept}


@pytest.mark.parametrize(
    ("sense", "ratio", "said"),
    [(">=", 2.0, "yes"), (">=", 1.5, "75 %, bar reached"), (">=", 1.0, "50 %, bar missed"), ("<=", 1.0, "yes"), ("<=", 2.5, "80 %, bar missed")],
)
def test_a_goal_tells_its_share_and_whether_the_bar_is_reached(sense, ratio, said):
    assert table.reached(reading(ratio=ratio, goal=Goal(sense=sense, value=2.0, bar=1.2 if sense == ">=" else 2.2))) == said


def test_a_ratio_is_the_median_of_the_rounds_ratios_and_not_the_ratio_of_medians():
    assert compare([1.0, 4.0, 9.0], [1.0, 1.0, 3.0]) == {"ratio": 3.0, "low": 1.0, "high": 4.0}


def test_jobs_take_turns_after_one_call_each_to_warm_up():
    called: list[str] = []
    found = turns({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, rounds=2, repeats={"a": 1, "b": 2})
    assert called == ["a", "b", "a", "b", "b", "a", "b", "b"] and len(found["a"].wall) == 2


def test_a_stream_that_comes_before_it_is_played_is_never_late():
    heard = listen(iter([1e6, 1e6]))
    assert heard.late == 0 and heard.first > 0 and heard.wall < 1


def test_a_row_measured_again_at_one_commit_replaces_itself_and_another_commit_appends(tmp_path):
    path = tmp_path / "ratios.json"
    history.save(run("one", reading(ratio=1.0), reading("P7 x", ratio=3.0)), path)
    history.save(run("one", reading(ratio=1.5)), path)
    history.save(run("two", reading(ratio=2.5)), path)
    runs = history.load(path)
    assert [[commit, one.ratio] for commit, one in history.series(runs, "P1 77m")] == [["one", 1.5], ["two", 2.5]]
    assert [(one.key, one.ratio) for one in history.latest(runs)] == [("P1 77m", 2.5), ("P7 x", 3.0)]


def test_a_run_says_where_it_was_measured():
    kept = history.record([reading()])
    assert {"commit", "date", "machine", "instructions", "versions", "load", "threads"} <= set(kept) and kept["versions"]["torch"]


def test_a_missing_peer_is_one_line_that_says_what_to_install(monkeypatch):
    def measured(rounds):
        yield reading()
        yield MissingPeer("a codec")
        peer_module("no_such_peer", install="pip install no_such_peer")

    monkeypatch.setitem(ROWS, "P0", measured)
    console = Console(record=True, width=200)
    assert [one.key for one in measure("P0", rounds=1, console=console)] == ["P1 77m"]
    lines = console.export_text().splitlines()
    assert sum("left out" in line for line in lines) == 2 and "pip install no_such_peer" in lines[1]


def test_the_causal_model_sees_nothing_that_comes_later():
    body = build("backbone", {"name": "transformer", "dim": 16, "num_layers": 2, "num_heads": 2, "num_kv_heads": 1, "ffn_dim": 32})
    plain, draw = PlainModel(body, latent_dim=4), torch.Generator().manual_seed(0)
    latents = torch.randn(1, 6, 4, generator=draw)
    seen: list[torch.Tensor] = []
    plain.leave.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    plain.step(latents)
    latents[:, 4:] += 1
    plain.step(latents)
    torch.testing.assert_close(seen[0][:, :4], seen[1][:, :4])
    assert not torch.allclose(seen[0][:, 4:], seen[1][:, 4:])


def test_the_page_shows_the_newest_figures_and_explains_every_row(monkeypatch):
    page, runs = PAGE.read_text(encoding="utf-8"), history.load()
    assert runs and table.markdown(history.latest(runs)) in page
    for family in FAMILIES:
        __import__(f"benchmarks.ratios.{family}")
    assert [name for name in ROWS if f"| {name} |" not in page and f"**{name}" not in page] == []


def test_the_picture_has_a_panel_for_every_ratio_with_a_goal(tmp_path):
    plot([run("one", reading()), run("two", reading(ratio=1.8), reading("P7 x"))], tmp_path / "ratios.png")
    assert (tmp_path / "ratios.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_kept_is_plain_json():
    assert Reading.from_json(json.loads(json.dumps(reading().as_json()))) == reading()
