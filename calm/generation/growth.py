"""Clips grow block by block; where a core is free, the next block is made while this one is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from calm.generation.clips import Clips, decode_together
from calm.generation.course import Block
from calm.generation.sampler import sample_blocks
from calm.model.generator import Generator

__all__ = ["core_is_free", "grow"]


def grow(model: Generator, clips: Clips, *, pipelined: bool | None = None) -> Iterator[list[Tensor]]:
    """Yield what every request gets of each block, [A, S] (S may be 0), until all have ended.

    Args:
        pipelined: make the next block in a thread of its own while this one is decoded; by default where
            `core_is_free`. The samples are the same to the bit.
    """
    blocks = sample_blocks(model, **clips.plan.sampling, stops=clips.ends.need_stops)
    with _ahead(core_is_free(model) if pipelined is None else pipelined) as ahead:
        coming = ahead(blocks)
        while not clips.done:
            growing = clips.take(coming())
            # What latents can tell of the end is known by now, so only silence leaves a block unused.
            if not clips.done:
                coming = ahead(blocks)
            decode_together(clips.vae, growing)
            yield clips.pieces()


def core_is_free(model: Generator) -> bool:
    """Whether this process may use more cores than its threads take, and a second thread would compute the same.

    Not on an accelerator, which does one thing after the other; not under autocast, which a thread does not inherit; and
    not under the profiler, which watches one thread.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    on_cpu = model.null_text.device.type == "cpu"
    watched = torch.is_autocast_enabled("cpu") or torch.autograd.profiler._is_profiler_enabled
    return on_cpu and cores >= 2 * torch.get_num_threads() and not watched


@contextmanager
def _ahead(pipelined: bool) -> Iterator[Callable[[Iterator[Block]], Callable[[], Block]]]:
    """A function that begins the next block, at once or when it is asked for, and returns a function that waits for it."""
    if not pipelined:
        yield lambda blocks: partial(next, blocks)
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="blocks") as worker:
        yield lambda blocks: worker.submit(next, blocks).result
