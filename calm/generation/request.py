"""What is asked for, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

from calm.types import Task, Waveform

if TYPE_CHECKING:
    from torch import Tensor

    from calm.safety.consent import Consent

__all__ = ["FinishReason", "Generation", "Request", "VoiceReference"]

FinishReason = Literal["stop", "duration", "max_length", "silence", "repetition"]


@dataclass(frozen=True, kw_only=True)
class VoiceReference:
    """A voice to speak with. None can be made without a consent record that holds for this clip today.

    Args:
        waveform: the whole clip that the consent was given for; its first seconds are used.
        consent: the speaker's consent. Raises ConsentError where it has expired or is for another clip.
        text: transcript of the clip; with it the clip is continued instead of imitated.
        purpose: what the voice is used for; checked against the consent where it is given.
    """

    waveform: Waveform
    consent: Consent
    text: str | None = None
    purpose: str | None = None

    def __post_init__(self) -> None:
        self.consent.verify(self.waveform, today=date.today(), purpose=self.purpose)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One prompt, resolved: the full description and every number.

    ``min_frames``: the stop head is not believed before. ``repetition_count``: how often a stretch may not
    follow itself; 0 for no limit.
    """

    task: Task
    text: str
    description: str
    negative_description: str | None
    num_frames: int | None
    min_frames: int
    max_frames: int
    repetition_count: int
    duration_seconds: float | None
    seed: int
    cfg_scale: float
    temperature: float


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One finished clip: ``audio`` float32 [A, S] in -1..1, on the CPU.

    ``finish_reason`` is ``stop`` (the model ended), ``duration`` (the requested length), ``max_length`` (the
    cap), ``silence`` (it went silent for too long) or ``repetition`` (it was stuck on one stretch). ``latents`` [F, C] are normalised. ``seconds_taken`` is the wall time of the whole call.
    """

    audio: Tensor
    sample_rate: int
    finish_reason: FinishReason
    seed: int
    task: Task
    text: str
    latents: Tensor
    seconds_taken: float

    @property
    def seconds(self) -> float:
        return self.audio.shape[-1] / self.sample_rate

    @property
    def waveform(self) -> Waveform:
        return Waveform(audio=self.audio, sample_rate=self.sample_rate)
