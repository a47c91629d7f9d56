"""What every expert offers: residual FFNs, one for every task that it serves and every layer that has them."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from calm.part import Part
from calm.types import Task

__all__ = ["Expert"]


class Expert(Part):
    """Abstract expert. Built with ``dim`` (D), ``ffn_dim`` and ``num_layers`` of the backbone.

    Attributes: ``layers``, the set of backbone layers that have an expert, and ``tasks``, the tasks
    whose audio rows are routed to it.
    """

    layers: frozenset[int]
    tasks: frozenset[Task]

    @abstractmethod
    def forward(self, layer: int, rows: Tensor, task: Task) -> Tensor:
        """Residual for gathered rows [R, D] (R may be 0) of one layer and one of ``tasks`` -> [R, D].

        No weight may depend on two tasks: the model calls every task's FFN, also without rows, so that each
        gets a gradient (of zero) in every step.
        """

    def param_groups(self):
        return [{"part": "expert", "params": list(self.parameters())}]
