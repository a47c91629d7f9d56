"""How large a run is, in one table: parameters, work, memory of a rank under each engine, days."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from calm.config import RunConfig
from calm.doctor.case import Case
from calm.doctor.cost import work_of
from calm.doctor.hardware import Hardware
from calm.doctor.memory import GIB, memory_of
from calm.doctor.parameters import count_parameters

__all__ = ["ENGINES", "PartSize", "RankMemory", "Size", "size_of"]

#: strategy, and whether layers are computed again
ENGINES = (("ddp", "none"), ("ddp", "layers"), ("fsdp", "none"), ("fsdp", "layers"))


@dataclass(frozen=True, kw_only=True)
class PartSize:
    """Parameters of one part."""

    part: str
    parameters: int
    is_trained: bool


@dataclass(frozen=True, kw_only=True)
class RankMemory:
    """Predicted peak of one rank in GiB. ``recompute``: ``trainer.activation_checkpointing``."""

    strategy: str
    recompute: str
    gib: float


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a run takes on stated hardware.

    Args:
        parts: parameters by part, trained and frozen.
        max_steps: planned optimizer steps.
        step_flops: floating-point operations of a step, forward and backward, mean over the run.
        total_flops: of all steps.
        memory: of a rank, by engine; where layers cannot be computed again (a VAE), without those.
        days: on ``hardware``.
    """

    name: str
    parts: tuple[PartSize, ...]
    max_steps: int
    step_flops: float
    total_flops: float
    memory: tuple[RankMemory, ...]
    days: float
    hardware: Hardware

    @property
    def trained(self) -> int:
        """Parameters that are trained."""
        return sum(part.parameters for part in self.parts if part.is_trained)

    @property
    def total(self) -> int:
        """Parameters in all."""
        return sum(part.parameters for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self) | {"trained": self.trained, "total": self.total}


def size_of(case: Case | RunConfig, *, hardware: Hardware | None = None) -> Size | None:
    """Return the size of a run; None for a model that cannot be built. Shards are used where they are there."""
    if isinstance(case, RunConfig):
        case = Case(case, hardware=hardware)
    if case.root is None:
        return None
    work = work_of(case)
    total, steps = sum(count * flops for count, flops in work), sum(count for count, _ in work)
    return Size(
        name=case.config.name,
        parts=_parts(case),
        max_steps=case.config.trainer.max_steps,
        step_flops=total / steps,
        total_flops=total,
        memory=_memory(case),
        days=case.hardware.days(total),
        hardware=case.hardware,
    )


def _parts(case: Case) -> tuple[PartSize, ...]:
    sizes = count_parameters(case.root)
    trained = [PartSize(part=part, parameters=count, is_trained=True) for part, count in sizes.by_part.items() if count]
    frozen: dict[str, int] = {}
    for name, parameter in case.root.named_parameters():
        if not parameter.requires_grad:
            part = name.partition(".")[0]
            frozen[part] = frozen.get(part, 0) + parameter.numel()
    return (*trained, *(PartSize(part=part, parameters=count, is_trained=False) for part, count in frozen.items()))


def _memory(case: Case) -> tuple[RankMemory, ...]:
    ranks, has_layers = case.hardware.num_gpus, case.generator is not None
    engines = ENGINES if has_layers else ENGINES[:1]
    return tuple(
        RankMemory(
            strategy=strategy,
            recompute=recompute,
            gib=memory_of(case, device="cuda", world_size=ranks, strategy=strategy, recompute=recompute).total / GIB,
        )
        for strategy, recompute in engines
    )
