"""The benchmark of the mark, on a minute of the corpus: it finds what it marked, goes on where it stopped, and draws."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.watermark import plot, run, summary
from calm.corpus import generate_corpus


def test_the_mark_is_measured_resumed_and_drawn(tmp_path: Path) -> None:
    generate_corpus(tmp_path / "corpus", seconds=90, seed=7)
    rows = tmp_path / "rows.jsonl"
    options = {"attack_every": 1, "sweep_every": 1}
    run(rows, [tmp_path / "corpus"], limit=3, **options)
    before = rows.read_text()
    run(rows, [tmp_path / "corpus"], limit=6, **options)
    assert rows.read_text().startswith(before)
    figures = summary([json.loads(line) for line in rows.read_text().splitlines()])
    assert figures["false_positives"]["clips"] == 6 and figures["false_positives"]["found"] == 0
    assert figures["level_db"]["lowest"] > 20
    assert {attack: found["rate"] for attack, found in figures["detected"].items() if "noise" not in attack} == {
        attack: 1.0 for attack in figures["detected"] if "noise" not in attack
    }
    assert [point["asked_db"] for point in figures["sweep"]] == sorted(point["asked_db"] for point in figures["sweep"])
    plot(figures, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000
