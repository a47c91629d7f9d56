"""Examples of one step -> one `Batch` at the VAE's rate and channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from calm.audio import fit, resample, to_channels
from calm.data.augment import Augmentation
from calm.data.examples import Example
from calm.types import Batch, Waveform

__all__ = ["Collate", "Encode", "crop_samples"]


class Encode(Protocol):
    """Example -> token ids; ``has_reference`` says whether a reference clip precedes the text."""

    def __call__(self, example: Example, *, has_reference: bool) -> Sequence[int]: ...


@dataclass(frozen=True, kw_only=True)
class Collate:
    """Resamples, pads and describes.

    Args:
        sample_rate, channels, hop: of the VAE; ``hop`` is samples per latent.
        encode: example -> token ids of its text.
        augment: (audio [A, S], generator) -> audio [A, S].
        max_samples: clips are cut to this; resampling may have added a sample to the excerpt.
        min_samples: batches are at least this long; equal to ``max_samples`` for crops of fixed length.
        frame_multiple: batches are padded with silence to a multiple of this many latents.
    """

    sample_rate: int
    channels: int
    hop: int
    encode: Encode
    augment: Augmentation
    max_samples: int
    min_samples: int = 0
    frame_multiple: int = 16

    def __call__(self, examples: Sequence[Example], step: int) -> Batch:
        """Return the batch of ``step``; see `Batch` for the shapes."""
        clips = [self._clip(example) for example in examples]
        references = [self._reference(example.reference) for example in examples]
        texts = [
            torch.tensor(list(self.encode(example, has_reference=reference.shape[-1] > 0)), dtype=torch.int64)
            for example, reference in zip(examples, references, strict=True)
        ]
        unit = self.hop * self.frame_multiple
        longest = max(self.min_samples, *(clip.shape[-1] for clip in clips))
        return Batch(
            audio=_stack(clips, -(-longest // unit) * unit),
            num_samples=_lengths(clips),
            complete=torch.tensor([example.complete for example in examples]),
            task=torch.tensor([example.sample.task.id for example in examples]),
            text=_stack(texts, max(len(text) for text in texts)),
            num_text=_lengths(texts),
            reference=_stack(references, max(r.shape[-1] for r in references)),
            num_reference=_lengths(references),
            keys=tuple(example.sample.key for example in examples),
            step=step,
        )

    def _clip(self, example: Example) -> Tensor:
        audio = self._convert(example.sample.waveform)[:, : self.max_samples]
        return self.augment(audio, example.rng)

    def _reference(self, waveform: Waveform | None) -> Tensor:
        """Return the reference [A, R], R whole latents; R is 0 where there is none."""
        if waveform is None:
            return torch.zeros(self.channels, 0)
        audio = self._convert(waveform)
        return audio[:, : audio.shape[-1] // self.hop * self.hop]

    def _convert(self, waveform: Waveform) -> Tensor:
        # Channels first: resampling one channel costs half of resampling two that become one.
        if waveform.audio.shape[0] > self.channels:
            return resample(to_channels(waveform, self.channels), self.sample_rate).audio
        return to_channels(resample(waveform, self.sample_rate), self.channels).audio


def crop_samples(seconds: float, *, sample_rate: int, hop: int) -> int:
    """Return the samples of a crop of ``seconds``, rounded up to whole latents."""
    return -(-round(seconds * sample_rate) // hop) * hop


def _stack(rows: Sequence[Tensor], length: int) -> Tensor:
    return torch.stack([fit(row, length) for row in rows])


def _lengths(rows: Sequence[Tensor]) -> Tensor:
    return torch.tensor([row.shape[-1] for row in rows], dtype=torch.int64)
