"""Where each request of a batch ends, and why."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from calm.generation.course import Block
from calm.generation.plan import Plan
from calm.generation.repetition import RepetitionGate
from calm.generation.request import FinishReason, Request

__all__ = ["Ends"]


class Ends:
    """Follows stop head, requested lengths, caps and repetition; others may ``close`` a request as well."""

    def __init__(self, plan: Plan, *, frame_rate: float) -> None:
        self.plan = plan
        self.frames: list[int] = [0] * len(plan.requests)
        self.reasons: list[FinishReason | None] = [None] * len(plan.requests)
        self._gates = [_gate(plan, request, frame_rate) for request in plan.requests]
        self._seen = 0

    @property
    def done(self) -> bool:
        return all(self.reasons)

    @property
    def need_stops(self) -> bool:
        """Whether what the stop head says can end a request: not where all have a length."""
        return any(request.num_frames is None for request in self.plan.requests)

    @property
    def open(self) -> list[int]:
        """The requests that have not ended."""
        return [index for index, reason in enumerate(self.reasons) if reason is None]

    def close(self, index: int, reason: FinishReason) -> None:
        """End a request with all that there is of it, or give a more exact reason for its end."""
        self.reasons[index], self.frames[index] = reason, self.frames[index] or self._seen

    def update(self, block: Block) -> None:
        """Take a block: its stop probabilities [B, K], where they are needed, and latents [B, K, C]."""
        above = None if block.stop is None else (block.stop > self.plan.stop_threshold).cpu().numpy()
        size = block.latents.shape[1]
        for index in self.open:
            request = self.plan.requests[index]
            limit = request.max_frames if request.num_frames is None else request.num_frames
            stop = None if request.num_frames is not None else self._first_stop(above[index], request)
            end = self._seen + size if stop is None else stop
            repeated = self._repeats(index, block.latents)
            if end >= limit:
                self.frames[index] = limit
                self.reasons[index] = "max_length" if request.num_frames is None else "duration"
            elif stop is not None:
                self.frames[index], self.reasons[index] = end, "stop"
            elif repeated:
                self.frames[index], self.reasons[index] = end, "repetition"
        self._seen += size

    def _first_stop(self, above: np.ndarray, request: Request) -> int | None:
        """Frames of a request that stops in this block, not before its floor."""
        ends = self._seen + 1 + np.flatnonzero(above)
        ends = ends[ends >= request.min_frames]
        return int(ends[0]) if len(ends) else None

    def _repeats(self, index: int, latents: Tensor) -> bool:
        gate = self._gates[index]
        return gate is not None and gate.push(latents[index].float().cpu().numpy())


def _gate(plan: Plan, request: Request, frame_rate: float) -> RepetitionGate | None:
    if plan.self_check is None or not request.repetition_count:
        return None
    return RepetitionGate(frame_rate, count=request.repetition_count, similarity=plan.self_check.repetition_similarity)
