"""Makes a part a LightningModule in a process that trains, and a plain torch module in one that only generates.

Whether a process trains is known without asking: it has imported `lightning` by the time it builds a model
(`calm.training` does so). Importing it costs seconds and needs packages that inference has no use for, so
nothing here imports it.
"""

from __future__ import annotations

import functools
import sys

from torch import nn

__all__ = ["trainable"]


def trainable(cls: type[nn.Module]) -> type[nn.Module]:
    """Return ``cls``, joined with LightningModule where `lightning` has been imported; the name stays the same."""
    base = getattr(sys.modules.get("lightning"), "LightningModule", None)
    return cls if base is None or issubclass(cls, base) else _join(cls, base)


@functools.cache
def _join(cls: type[nn.Module], base: type[nn.Module]) -> type[nn.Module]:
    # The methods of `cls` come first, as if it had been written as a subclass of `base`.
    names = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(cls.__name__, (cls, base), names)
