"""Block by block: noise, ODE against the cache, one clean pass, the stop head, the next block."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from calm.generation.course import Block, Settings, open_course
from calm.generation.joint import Turn, advance
from calm.model.generator import Generator
from calm.model.prompt import Prompt

__all__ = ["sample_blocks"]


def sample_blocks(
    model: Generator,
    prompt: Prompt,
    *,
    settings: Settings,
    negative: Prompt | None = None,
    history: Tensor | None = None,
    stops: bool = True,
) -> Iterator[Block]:
    """Yield blocks of B requests for ever; the caller decides when each ends. Arguments as for ``open_course``.

    Args:
        stops: whether the stop head is asked. Else a block comes before its clean pass, which the last one never needs.
    """
    course = open_course(model, prompt, settings=settings, negative=negative, history=history)
    while stops:
        yield advance(model, [course])[0]
    while True:
        turn = Turn(model, [course])
        yield course.block(*turn.solve())
        turn.keep()
        course.index += 1
