"""How many parameters each part has."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

__all__ = ["Parameters", "count_parameters"]


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Numbers of parameters.

    Args:
        by_part: trained ones, by the part that they are optimised as.
        trained: all of these. averaged: those with an EMA (all but the adversary's).
        matrices: trained ones that a mixed precision copies to 16 bits: of two axes or more.
        frozen: those that are not trained: a generator's VAE.
        largest: of the largest single tensor.
    """

    by_part: dict[str, int]
    trained: int
    averaged: int
    matrices: int
    frozen: int
    largest: int


def count_parameters(root: nn.Module) -> Parameters:
    """Count the parameters of a root."""
    by_part: dict[str, int] = {}
    trained = [parameter for parameter in root.parameters() if parameter.requires_grad]
    for group in root.param_groups():
        size = sum(parameter.numel() for parameter in group["params"] if parameter.requires_grad)
        by_part[group["part"]] = by_part.get(group["part"], 0) + size
    total = sum(parameter.numel() for parameter in trained)
    return Parameters(
        by_part=by_part,
        trained=total,
        averaged=total - by_part.get("adversary", 0),
        matrices=sum(parameter.numel() for parameter in trained if parameter.ndim >= 2),
        frozen=sum(parameter.numel() for parameter in root.parameters() if not parameter.requires_grad),
        largest=max((parameter.numel() for parameter in trained), default=0),
    )
