"""The mean of trained models, tensor by tensor (Wortsman et al., "Model soups", 2022, the uniform soup and its weights)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from calm.config import RunConfig
from calm.errors import CheckpointError, InputError
from calm.model.build import check_same, load_pretrained
from calm.part import Part

__all__ = ["average"]

#: groups that must be configured alike: equal shapes do not make equal parts
_SAME = ("vae", "backbone", "head", "expert")


def average(sources: Sequence[str | Path], *, weights: Sequence[float] | None = None) -> tuple[Part, RunConfig]:
    """Load models of one configuration and average them; all else is taken from the first.

    Args:
        sources: runs' exports, exported models or shipped ones, at least two.
        weights: what each counts for, positive, by default the same; their sum does not matter.

    Only models that come from the same first weights lie near enough to each other for their mean to be a good model.
    Raises InputError for weights that fit no sources, CheckpointError where the models differ in more than weights.
    """
    if len(sources) < 2:
        raise InputError("A mean needs at least two models", where="sources", allowed="two or more folders or names")
    shares = [1.0] * len(sources) if weights is None else [float(weight) for weight in weights]
    if len(shares) != len(sources) or not all(math.isfinite(share) and share > 0 for share in shares):
        raise InputError(
            "The weights do not fit the models", where="weights", allowed=f"{len(sources)} positive numbers, one for each"
        )
    model, config = load_pretrained(sources[0])
    mean = {name: _share(tensor, shares[0] / sum(shares)) for name, tensor in model.state_dict().items()}
    for source, share in zip(sources[1:], shares[1:], strict=True):
        for group in _SAME:
            check_same(group, config, source)
        other = load_pretrained(source)[0].state_dict()
        if {name: tensor.shape for name, tensor in other.items()} != {name: tensor.shape for name, tensor in mean.items()}:
            raise CheckpointError("The models have not the same tensors", where=source, hint="average stretches of one model")
        for name, tensor in other.items():
            _add(mean[name], tensor, share / sum(shares), where=f"{source}: {name}")
    model.load_state_dict(mean)
    return model, config


def _share(tensor: Tensor, share: float) -> Tensor:
    return tensor.to(torch.float64) * share if tensor.is_floating_point() else tensor.clone()


def _add(mean: Tensor, tensor: Tensor, share: float, *, where: str) -> None:
    if tensor.is_floating_point():
        mean += tensor.to(torch.float64) * share
    elif not torch.equal(mean, tensor):
        raise CheckpointError("Whole numbers have no mean, and these differ", where=where)
