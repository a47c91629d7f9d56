"""Numbers that say how good a model is: figures over finished audio, and the loss that a person can read."""

from __future__ import annotations

from calm.metrics.base import ClipMetric, Column, Item, Rows, SetMetric, Trial, Unscored, figures_of
from calm.metrics.intervals import Figure
from calm.metrics.loss_by_task import LossByTask

__all__ = ["ClipMetric", "Column", "Figure", "Item", "LossByTask", "Rows", "SetMetric", "Trial", "Unscored", "figures_of"]
