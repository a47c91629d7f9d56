"""From nothing to one model that speaks, makes sounds and makes music, and a page that shows it: `calm demo`."""

from __future__ import annotations

from calm.demo.overfit import OverfitResult, overfit
from calm.demo.run import run_demo

__all__ = ["OverfitResult", "overfit", "run_demo"]
