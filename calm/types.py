"""Words that every module shares: tasks and the records that cross module borders.

Letters of the shapes, everywhere in this project (docs/SHAPES.md):
B batch, N rows of a sequence, K rows per block, D hidden width, C latent channels, T text tokens,
S samples of audio, A audio channels, H attention heads, F latent frames, M noisy copies.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from calm.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["TASKS", "Batch", "Latents", "Sample", "Task", "Waveform"]


class Task(StrEnum):
    """What is to be made. The order is the id used in tensors: 0 speech, 1 sound, 2 music."""

    SPEECH = "speech"
    SOUND = "sound"
    MUSIC = "music"

    @property
    def id(self) -> int:
        return TASKS.index(self)

    @classmethod
    def parse(cls, name: str, *, where: object = None) -> Task:
        """Return the task called ``name``; raises InputError with the allowed names."""
        try:
            return cls(str(name).lower())
        except ValueError:
            guess = did_you_mean(name, [str(t) for t in cls]) or ""
            raise InputError(f"Unknown task '{name}'. {guess}".strip(), where=where, allowed=list(cls)) from None


TASKS: tuple[Task, ...] = (Task.SPEECH, Task.SOUND, Task.MUSIC)


@dataclass(frozen=True, kw_only=True)
class Waveform:
    """Audio with its rate. ``audio`` is float32 [A, S] in -1..1; ``sample_rate`` in Hz."""

    audio: Tensor
    sample_rate: int

    @property
    def seconds(self) -> float:
        return self.audio.shape[-1] / self.sample_rate


@dataclass(frozen=True, kw_only=True)
class Latents:
    """An excerpt of a clip as a VAE encoded it, from a whole latent frame on.

    ``means`` are posterior means, not normalised, float32 [F, C]: the ceil(num_samples / hop) frames of the
    excerpt and 15 frames of what follows it, so that it can be cut to whole blocks of up to 16.
    ``num_samples`` counts samples per channel at the VAE's ``sample_rate`` in Hz; ``hop`` is samples per frame.
    """

    means: Tensor
    num_samples: int
    sample_rate: int
    hop: int

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One clip of a shard, decoded: its ``waveform``, or its ``latents`` where the shard holds those.

    ``text`` is the transcript of speech or the caption of sound and music. ``attributes`` are the
    further keys of the manifest (speaker, gender, pitch, tempo, instruments, ...), JSON values only.
    ``wordings`` are further captions that say the same; for speech, phrases for the voice.
    """

    key: str
    task: Task
    text: str
    waveform: Waveform | None = None
    latents: Latents | None = None
    speaker: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    wordings: tuple[str, ...] = ()
    shard: str = ""

    @property
    def seconds(self) -> float:
        return (self.waveform or self.latents).seconds


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A mixed-task batch as the models receive it. All tensors share B; padding is at the end.

    A batch from latent shards has ``latents`` and ``reference_latents``, and ``audio`` and ``reference`` of no
    samples; its counts of samples mean the same.

    audio           float32 [B, A, S]  the target clips, silence padded
    num_samples     int64   [B]        samples before padding
    complete        bool    [B]        whether the clip ends where the recording ends (stop label)
    task            int64   [B]        Task.id
    text            int64   [B, T]     token ids of the description, 0 padded
    num_text        int64   [B]        tokens before padding (0 where the text was dropped)
    reference       float32 [B, A, R]  reference clips (R may be 0), silence padded
    num_reference   int64   [B]        samples of reference before padding (0 where there is none)
    keys            the samples' keys, for messages
    step            the plan step that produced the batch, for exact resume
    latents         float32 [B, F, C]  posterior means of the targets, not normalised; every clip is followed by
                                       at least 15 frames of what came after it, zeros fill the rest
    reference_latents  float32 [B, R, C]  posterior means of the references, whole frames
    timing          float32 [B, 3]     the tempo that the text names in beats a minute, the seconds of the whole
                                       recording (0: not known, or speech), and those before the clip
    """

    audio: Tensor
    num_samples: Tensor
    complete: Tensor
    task: Tensor
    text: Tensor
    num_text: Tensor
    reference: Tensor
    num_reference: Tensor
    keys: tuple[str, ...] = ()
    step: int = -1
    latents: Tensor | None = None
    reference_latents: Tensor | None = None
    timing: Tensor | None = None

    def __len__(self) -> int:
        return self.audio.shape[0]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Move every tensor to a device (Lightning calls this to transfer a batch)."""
        moved = {
            f.name: value.to(device, non_blocking=non_blocking)
            for f in dataclasses.fields(self)
            if hasattr(value := getattr(self, f.name), "to")
        }
        return dataclasses.replace(self, **moved)
