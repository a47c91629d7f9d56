"""Examples of one step -> one `Batch` at the VAE's rate and channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from calm.audio import fit, resample, to_channels
from calm.data.augment import Augmentation
from calm.data.describe import Description
from calm.data.examples import Example
from calm.types import Batch, Sample, Task, Waveform

__all__ = ["Collate", "Encode", "convert", "crop_samples"]


class Encode(Protocol):
    """Example -> its text; ``has_reference`` says whether a reference clip precedes the text."""

    def __call__(self, example: Example, *, has_reference: bool) -> Description: ...


@dataclass(frozen=True, kw_only=True)
class Collate:
    """Resamples, pads and describes.

    Args:
        sample_rate, channels, hop: of the VAE; ``hop`` is samples per latent.
        encode: example -> its description.
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
        sound = self._audio(examples) if examples[0].sample.latents is None else self._latents(examples)
        described = [
            self.encode(example, has_reference=samples > 0)
            for example, samples in zip(examples, sound["num_reference"].tolist(), strict=True)
        ]
        texts = [torch.tensor(list(description.ids), dtype=torch.int64) for description in described]
        return Batch(
            **sound,
            complete=torch.tensor([example.complete for example in examples]),
            task=torch.tensor([example.sample.task.id for example in examples]),
            text=_stack(texts, max(len(text) for text in texts)),
            num_text=_lengths(texts),
            keys=tuple(example.sample.key for example in examples),
            step=step,
            timing=torch.tensor([_timing(*pair) for pair in zip(examples, described, strict=True)]),
        )

    def _audio(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Return targets and references as waveforms."""
        clips = [self._clip(example) for example in examples]
        references = [self._reference(example.reference) for example in examples]
        unit = self.hop * self.frame_multiple
        longest = max(self.min_samples, *(clip.shape[-1] for clip in clips))
        return {
            "audio": _stack(clips, -(-longest // unit) * unit),
            "num_samples": _lengths(clips),
            "reference": _stack(references, max(r.shape[-1] for r in references)),
            "num_reference": _lengths(references),
        }

    def _latents(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Return targets and references as latents, with waveforms of no samples."""
        clips = [example.sample.latents for example in examples]
        whole = [0 if e.reference is None else e.reference.latents.num_samples // self.hop for e in examples]
        references = [
            clips[0].means[:0] if example.reference is None else example.reference.latents.means[:frames]
            for example, frames in zip(examples, whole, strict=True)
        ]
        nothing = torch.zeros(len(examples), self.channels, 0)
        return {
            "audio": nothing,
            "num_samples": torch.tensor([min(clip.num_samples, self.max_samples) for clip in clips]),
            "reference": nothing,
            "num_reference": torch.tensor(whole) * self.hop,
            "latents": _stack_frames([clip.means for clip in clips]),
            "reference_latents": _stack_frames(references),
        }

    def _clip(self, example: Example) -> Tensor:
        audio = self._convert(example.sample)[:, : self.max_samples]
        return self.augment(audio, example.rng)

    def _reference(self, sample: Sample | None) -> Tensor:
        """Return the reference [A, R], R whole latents; R is 0 where there is none."""
        if sample is None:
            return torch.zeros(self.channels, 0)
        audio = self._convert(sample)
        return audio[:, : audio.shape[-1] // self.hop * self.hop]

    def _convert(self, sample: Sample) -> Tensor:
        return convert(sample.waveform, sample_rate=self.sample_rate, channels=self.channels)


def _timing(example: Example, description: Description) -> tuple[float, float, float]:
    """Return what `Batch.timing` says of one example."""
    # The length of speech follows from its words.
    whole = 0.0 if example.sample.task is Task.SPEECH else example.whole_seconds
    return description.tempo, whole, example.start_seconds


def convert(waveform: Waveform, *, sample_rate: int, channels: int) -> Tensor:
    """Return the audio [A, S] at the rate and channels of a VAE."""
    # Channels first: resampling one channel costs half of resampling two that become one.
    if waveform.audio.shape[0] > channels:
        return resample(to_channels(waveform, channels), sample_rate).audio
    return to_channels(resample(waveform, sample_rate), channels).audio


def crop_samples(seconds: float, *, sample_rate: int, hop: int) -> int:
    """Return the samples of a crop of ``seconds``, rounded up to whole latents."""
    return -(-round(seconds * sample_rate) // hop) * hop


def _stack(rows: Sequence[Tensor], length: int) -> Tensor:
    return torch.stack([fit(row, length) for row in rows])


def _stack_frames(rows: Sequence[Tensor]) -> Tensor:
    """Rows [F, C] of several lengths -> [B, F, C], zeros at the end."""
    longest = max(len(row) for row in rows)
    return torch.stack([F.pad(row, (0, 0, 0, longest - len(row))) for row in rows])


def _lengths(rows: Sequence[Tensor]) -> Tensor:
    return torch.tensor([row.shape[-1] for row in rows], dtype=torch.int64)
