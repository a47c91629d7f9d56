"""Numbers that say how good a model is."""

from __future__ import annotations

from calm.metrics.loss_by_task import LossByTask

__all__ = ["LossByTask"]
