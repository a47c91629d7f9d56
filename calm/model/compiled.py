"""Compiled passes: what a generator computes again and again, by torch.compile with shapes that stay."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable

import torch
from torch import Tensor

from calm.backbone.fixed_cache import FixedCache
from calm.errors import ConfigError
from calm.model.generator import Generator

__all__ = ["COMPILERS", "compile_passes"]

COMPILERS = ("c++", "g++", "clang++")


def compile_passes(model: Generator, *, backend: str = "inductor") -> Generator:
    """Compile the passes of a block through backbone and head, in place and for inference only, and return the model.

    The first block takes a minute or more on a CPU; then nothing is compiled for as long as batch, block size and the
    length that was announced (in steps of 128 rows) stay. On CUDA the passes are replayed as graphs. Rounding differs
    from the layers as they are. Raises ConfigError on a CPU without a C++ compiler.
    """
    on_cuda = model.null_text.device.type == "cuda"
    if backend == "inductor" and not on_cuda and not any(map(shutil.which, COMPILERS)):
        raise ConfigError(
            "Compiling for a CPU needs a C++ compiler, and none was found",
            where="--compile",
            allowed=f"one of {', '.join(COMPILERS)} in the PATH",
            hint="install one (Debian: g++), or leave --compile out",
        )
    graphs = {"mode": "reduce-overhead"} if on_cuda and backend == "inductor" else {}

    def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        fast = torch.compile(function, dynamic=False, backend=backend, **graphs)
        # The next replay of a graph writes to the same tensor.
        return (lambda *args, **more: fast(*args, **more).clone()) if graphs else fast

    model.cache_type = functools.partial(FixedCache, left={})
    model.pass_rows = compiled(model.pass_rows)
    model.head.forward, model.head.step = compiled(model.head.forward), compiled(model.head.step)
    return model
