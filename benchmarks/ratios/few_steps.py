"""P14: what few steps cost in word errors, as `benchmarks/few_steps.py` found it; nothing is measured here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ratios.readings import Goal, MissingPeer, Reading, row

RESULTS = Path(__file__).resolve().parents[1] / "results"
#: system of `benchmarks/few_steps.py` -> what it is, and its goal
FORMS = {
    "mini_4": ("mini, 4 steps", 0.01),
    "few_4": ("mini_few, 4 steps in one branch", 0.01),
    "few_1": ("mini_few, 1 step in one branch", 0.03),
}


@row("P14")
def words(rounds: int) -> Iterator[Reading]:
    """WER in few steps minus that of `mini` at 10, with its 95 % interval."""
    found = next((path for path in (RESULTS / "few_steps.json", RESULTS / "few_steps_development.json") if path.is_file()), None)
    if found is None:
        raise MissingPeer("benchmarks/results/few_steps.json is missing: run benchmarks/few_steps.py")
    results = json.loads(found.read_text(encoding="utf-8"))
    for name, (what, goal) in FORMS.items():
        if name not in results["speech"]:
            continue
        ours, first = results["speech"][name], results["speech"]["mini_10"]
        paired = ours["wer_minus_first"]
        yield Reading(
            row="P14",
            key=f"P14 {name}",
            what=f"WER of {what}, minus at 10, {results['utterances']} {results['split']} sentences ({found.name})",
            ours=f"{ours['wer']['value']:.3f}",
            peer=f"mini, 10 steps {first['wer']['value']:.3f}",
            ratio=paired["value"],
            low=paired["low"],
            high=paired["high"],
            goal=Goal(sense="<=", value=goal),
            details={"date": results.get("date")},
        )
