"""What a generation is conditioned on, and the rows that it becomes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from calm.model.timing import SECONDS, TEMPO

__all__ = ["Prompt"]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Conditions of B requests, padded at the end.

    task           int64 [B]        Task.id
    text           int64 [B, T]     token ids of the description
    num_text       int64 [B]        valid tokens; 0 means no text (the learned null prefix stands in)
    reference      float [B, R, C]  normalised latents of the reference clip; R may be 0
    num_reference  int64 [B]        valid reference frames; 0 means none
    timing         float32 [B, 3]   tempo, seconds of the whole clip, and seconds before frame 0 (`calm.model.timing`);
                                    nothing known and nothing passed by default
    """

    task: Tensor
    text: Tensor
    num_text: Tensor
    reference: Tensor
    num_reference: Tensor
    timing: Tensor | None = None

    def __post_init__(self) -> None:
        if self.timing is None:
            object.__setattr__(self, "timing", torch.zeros(len(self.task), 3, device=self.task.device))

    def __len__(self) -> int:
        return len(self.task)

    def num_before_words(self, first_spoken_id: int | None) -> Tensor:
        """Rows [B] of the text before the transcript, whose ids begin at ``first_spoken_id``; 0 where there is none."""
        if first_spoken_id is None or not self.text.shape[1]:
            return torch.zeros_like(self.num_text)
        valid = torch.arange(self.text.shape[1], device=self.text.device) < self.num_text[:, None]
        # argmax is the first of equals, and 0 where no row is spoken.
        return (valid & (self.text >= first_spoken_id)).int().argmax(dim=1)

    def drop(self, *, text: Tensor, reference: Tensor) -> Prompt:
        """Drop conditions where the bool masks [B] say so (classifier-free guidance, Ho & Salimans, 2022)."""
        return dataclasses.replace(
            self,
            num_text=self.num_text.masked_fill(text, 0),
            timing=_unknown(self.timing, TEMPO, SECONDS, where=text),
            num_reference=self.num_reference.masked_fill(reference, 0),
        )

    def without_conditions(self) -> Prompt:
        """The unconditional prompt of the same requests."""
        every = torch.ones_like(self.task, dtype=torch.bool)
        return self.drop(text=every, reference=every)

    def drop_seconds(self, where: Tensor) -> Prompt:
        """Leave the length open where the bool mask [B] says so: a clip may be asked for that has none."""
        return dataclasses.replace(self, timing=_unknown(self.timing, SECONDS, where=where))

    @staticmethod
    def stack(first: Prompt, second: Prompt) -> Prompt:
        """Join two batches of prompts along B, padding both to the longer text and reference."""

        def join(a: Tensor, b: Tensor) -> Tensor:
            if a.ndim > 1:
                length = max(a.shape[1], b.shape[1])
                a, b = (torch.cat([x, x.new_zeros(len(x), length - x.shape[1], *x.shape[2:])], 1) for x in (a, b))
            return torch.cat([a, b])

        return Prompt(
            **{f.name: join(getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(Prompt)}
        )


def _unknown(timing: Tensor, *columns: int, where: Tensor) -> Tensor:
    """A timing [B, 3] whose ``columns`` are not known where the bool mask [B] says so."""
    timing = timing.clone()
    for column in columns:
        timing[:, column] = timing[:, column].masked_fill(where, 0.0)
    return timing
