"""AdamW over the root's parts, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from calm.errors import ConfigError, did_you_mean
from calm.part import Part
from calm.training.config import OptimConfig, Phase

__all__ = ["PARTS", "build_optimizer", "check_parts", "learning_rate", "schedule"]

#: the parts of a generator; a root of one's own may have others
PARTS: tuple[str, ...] = ("backbone", "audio", "head", "expert", "text")


def schedule(config: OptimConfig, *, step: int, total_steps: int) -> float:
    """Return the factor on the peak learning rate at ``step``: linear warm-up, then constant or cosine."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    span = max(1, total_steps - config.warmup_steps)
    progress = min(1.0, (step - config.warmup_steps) / span)
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * (1 + math.cos(math.pi * progress)) / 2


def learning_rate(config: OptimConfig, *, part: str, phase: Phase, step: int, total_steps: int) -> float:
    """Return the learning rate of a part at a step. An expert that is off has none."""
    if part == "expert" and phase.expert == "off":
        return 0.0
    factor = config.lr_factors.get(part, 1.0) * phase.lr_factors.get(part, 1.0)
    return config.learning_rate * factor * schedule(config, step=step, total_steps=total_steps)


def build_optimizer(root: Part, config: OptimConfig) -> torch.optim.AdamW:
    """Return AdamW with one group per part and per use of weight decay; each group keeps its ``part``.

    Biases, norms and other vectors are not decayed. Parameters without gradients are left out. The
    learning rates are set at every step by `CurriculumCallback`.
    """
    groups: list[dict[str, Any]] = []
    for group in root.param_groups():
        trainable = [parameter for parameter in group["params"] if parameter.requires_grad]
        matrices = [parameter for parameter in trainable if parameter.ndim >= 2]
        vectors = [parameter for parameter in trainable if parameter.ndim < 2]
        for params, weight_decay in ((matrices, config.weight_decay), (vectors, 0.0)):
            if params:
                groups.append({"params": params, "part": group["part"], "weight_decay": weight_decay})
    if not groups:
        raise ConfigError("The model has no parameter to train", where=type(root).__name__)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=tuple(config.betas))


def check_parts(names: Iterable[str], *, parts: Iterable[str], where: str) -> None:
    """Raise ConfigError for a name that is neither a part of the root nor one of ``PARTS``."""
    allowed = sorted({*PARTS, *parts})
    for name in names:
        if name not in allowed:
            guess = did_you_mean(name, allowed) or ""
            raise ConfigError(f"Unknown part '{name}'. {guess}".strip(), where=where, allowed=allowed)
