"""Figures of a long form, with the machine they were taken on, as JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from calm.audio import write_bytes

__all__ = ["write_result"]

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def write_result(name: str, figures: dict[str, Any]) -> None:
    """Write ``benchmarks/results/NAME.json`` and show it."""
    machine = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    text = json.dumps({"results": figures, "machine": machine}, indent=2)
    write_bytes(RESULTS / f"{name}.json", f"{text}\n".encode())
    print(text)
