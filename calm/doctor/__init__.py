"""`calm doctor`: what would go wrong in a run, told before it starts."""

from __future__ import annotations

from calm.doctor.examine import CHECKS, examine
from calm.doctor.finding import Finding, Level, Report
from calm.doctor.hardware import Hardware
from calm.doctor.size import Size, size_of

__all__ = ["CHECKS", "Finding", "Hardware", "Level", "Report", "Size", "examine", "size_of"]
