"""The device that a user names."""

from __future__ import annotations

from typing import Any

import torch

from calm.errors import CalmError

__all__ = ["open_device"]


def open_device(name: str, *, error: type[CalmError], **said: Any) -> torch.device:
    """Return the device called ``name``, once a tensor was put there; else raise ``error`` with the reason and ``said``."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as problem:
        reason = str(problem).split("\n")[0]
        raise error(f"Device '{name}' cannot be used ({reason})", **said) from None
    return device
