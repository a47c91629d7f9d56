"""P14: what few steps cost in word errors, as `benchmarks/few_steps.py` found it; nothing is measured here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ratios.readings import Goal, MissingPeer, Reading, row

RESULTS = Path(__file__).resolve().parents[1] / "results"


@row("P14")
def words(rounds: int) -> Iterator[Reading]:
    """WER of `mini_few` at 4 and 1 steps minus that of `mini` at 10, with its 95 % interval."""
    found = next((path for path in (RESULTS / "few_steps.json", RESULTS / "few_steps_development.json") if path.is_file()), None)
    if found is None:
        raise MissingPeer("benchmarks/results/few_steps.json is missing: run benchmarks/few_steps.py")
    results = json.loads(found.read_text(encoding="utf-8"))
    for steps, goal in ((4, 0.01), (1, 0.03)):
        if f"few_{steps}" not in results["speech"]:
            continue
        ours, first = (results["speech"][name] for name in (f"few_{steps}", "mini_10"))
        paired = ours["wer_minus_first"]
        yield Reading(
            row="P14",
            key=f"P14 {steps}",
            what=f"WER at {steps} steps minus at 10, {results['utterances']} {results['split']} sentences ({found.name})",
            ours=f"{ours['wer']['value']:.3f}",
            peer=f"mini, 10 steps {first['wer']['value']:.3f}",
            ratio=paired["value"],
            low=paired["low"],
            high=paired["high"],
            goal=Goal(sense="<=", value=goal),
            details={"date": results.get("date")},
        )
