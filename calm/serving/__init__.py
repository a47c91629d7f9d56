"""Serving: many requests share one model, block by block."""

from calm.errors import Busy, Closing
from calm.serving.engine import Engine
from calm.serving.limits import Limits
from calm.serving.statistics import Histogram, Statistics
from calm.serving.stream import Stream, Timings

__all__ = ["Busy", "Closing", "Engine", "Histogram", "Limits", "Statistics", "Stream", "Timings"]
