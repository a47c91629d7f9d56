"""What every expert offers: one residual FFN per layer, applied to the rows it is given."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from calm.part import Part

__all__ = ["Expert"]


class Expert(Part):
    """Abstract expert. Built with ``dim`` (D), ``ffn_dim`` and ``num_layers`` of the backbone.

    Attributes: ``layers``, the set of backbone layers that have an expert, and ``tasks``, the tasks
    whose audio rows are routed to it.
    """

    layers: frozenset[int]
    tasks: frozenset[str]

    @abstractmethod
    def forward(self, layer: int, rows: Tensor) -> Tensor:
        """Residual for gathered rows [R, D] (R may be 0) of one layer -> [R, D]."""

    def param_groups(self):
        return [{"part": "expert", "params": list(self.parameters())}]
