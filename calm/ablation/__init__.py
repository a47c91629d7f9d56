"""The paper's claims as one command: does mixing the tasks hurt, and does A-MoME repair it?

Names are looked up on first use, so that listing the runs does not import what trains them.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {"AblationPlan": "plan", "run_ablation": "run"}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
