"""Life of a model before it is trained: curriculum, optimizer, averaged weights, checkpoints; `calm.training.fit` runs it all.

Names are looked up on first use, so that reading a configuration does not import torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "AtomicCheckpointIO": "checkpoint_io",
    "CurriculumConfig": "config",
    "FitResult": "fit",
    "Interrupted": "interruption",
    "LoggerConfig": "config",
    "OptimConfig": "config",
    "Phase": "config",
    "RunStatus": "status",
    "TrainerConfig": "config",
    "build_optimizer": "optim",
    "longest_at": "curriculum",
    "phase_at": "curriculum",
    "read_status": "status",
    "train": "fit",
    "weights_at": "curriculum",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
