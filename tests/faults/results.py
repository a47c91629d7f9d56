"""Figures of a long form, with the machine they were taken on, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from calm.audio import write_bytes
from calm.evaluation.machine import machine_record

__all__ = ["write_result"]

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def write_result(name: str, figures: dict[str, Any]) -> None:
    """Write ``benchmarks/results/NAME.json`` and show it."""
    text = json.dumps({"results": figures, "machine": machine_record()}, indent=2)
    write_bytes(RESULTS / f"{name}.json", f"{text}\n".encode())
    print(text)
