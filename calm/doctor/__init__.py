"""`calm doctor`: what would go wrong in a run, told before it starts."""

from __future__ import annotations

from calm.doctor.examine import CHECKS, examine
from calm.doctor.finding import Finding, Level, Report

__all__ = ["CHECKS", "Finding", "Level", "Report", "examine"]
