"""Compiled layers: the same steps with fewer passes over memory.

Layer by layer, because all layers share one compilation, and without the expert: which rows it gets, and whether any,
changes from batch to batch, and torch compiles a function eight times at most before it gives up.
"""

from __future__ import annotations

import shutil

import torch

from calm.errors import ConfigError
from calm.part import Part
from calm.training.sharding import in_training, layers_of

__all__ = ["compile_layers"]

COMPILERS = ("c++", "g++", "clang++")


def compile_layers(root: Part) -> None:
    """Compile the backbone's layers for training, in place; without gradients they run as before.

    The first steps take a minute or two. Rounding differs from the layers as they are. Raises ConfigError for a
    root without layers, and where there is no C++ compiler.
    """
    layers = layers_of(root, key="trainer.compile")
    if not any(map(shutil.which, COMPILERS)):
        raise ConfigError(
            "Compiling layers needs a C++ compiler, and none was found",
            where="trainer.compile: layers",
            allowed=f"one of {', '.join(COMPILERS)} in the PATH",
            hint="install one (Debian: g++), or train with trainer.compile=none",
        )
    for layer in layers:
        name = "body" if hasattr(layer, "body") else "forward"
        plain = getattr(layer, name)
        setattr(layer, name, in_training(torch.compile(plain, dynamic=True), otherwise=plain))
